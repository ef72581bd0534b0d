"""A clinic's service times as rows: what was changed counts, and the rest is the default."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from clinic.due_time import WORKING_DAYS, Clock, suspected_cancer_by
from clinic.records import service_clock
from clinic.records.db import database_now
from clinic.records.models import Account, Clinic, Submission
from tests.waiting_cases import now, waiting
from tests.world import World

CHRISTMAS = date(2026, 12, 25)


def test_what_a_clinic_did_not_change_is_the_default(world: World) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Clinic, world.clinic_id).time_zone = "Pacific/Auckland"
        service_clock.set_limits(session, world.clinic_id, {Clock.URGENT: 3})
        service_clock.set_limits(session, world.clinic_id, {Clock.URGENT: 2})
        service_clock.add_holiday(session, world.clinic_id, CHRISTMAS)
    with world.sessions() as session:
        own = service_clock.service_times(session, world.clinic_id)
        other = service_clock.service_times(session, world.other_clinic_id)
    assert own.working_days == {**WORKING_DAYS, Clock.URGENT: 2}
    assert own.holidays == {CHRISTMAS}
    assert own.timezone == ZoneInfo("Pacific/Auckland")
    assert (other.working_days, other.holidays) == (WORKING_DAYS, frozenset())


@pytest.mark.parametrize("days", [0, -1, 61])
def test_the_database_itself_refuses_an_impossible_limit(world: World, days: int) -> None:
    with world.sessions() as session, pytest.raises(IntegrityError):
        service_clock.set_limits(session, world.clinic_id, {Clock.TOLD: days})


def test_an_open_day_cannot_be_opened_again(world: World) -> None:
    with world.sessions() as session, session.begin():
        service_clock.add_holiday(session, world.clinic_id, CHRISTMAS)
        assert service_clock.remove_holiday(session, world.clinic_id, CHRISTMAS)
        assert not service_clock.remove_holiday(session, world.clinic_id, CHRISTMAS)


def told(world: World) -> set[str]:
    with world.sessions() as session:
        return {one.id for one in service_clock.contacts(session, world.clinic_id)}


def test_those_who_are_named_are_told_and_without_them_the_administrators(world: World) -> None:
    assert told(world) == {world.erin.account_id}
    with world.sessions() as session, session.begin():
        named = [world.bob.account_id, world.dan.account_id]
        service_clock.set_contacts(session, world.clinic_id, named)
    assert told(world) == set(named)
    with world.sessions() as session, session.begin():
        gone = update(Account).where(Account.id.in_(named))
        session.execute(gone.values(disabled_at=database_now(session)))
    assert told(world) == {world.erin.account_id}


@pytest.mark.parametrize("urgency", [0, 1, 2])
def test_the_28_days_run_on_suspected_cancer_and_never_move(world: World, urgency: int) -> None:
    case = waiting(world, urgency=urgency, received_at=now(world) - timedelta(days=3))
    with world.sessions() as session:
        row = session.get_one(Submission, case)
        service_clock.start_cancer_clock(row)
        assert row.told_by == (suspected_cancer_by(row.received_at) if urgency < 2 else None)
        first, row.urgency = row.told_by, 2
        service_clock.start_cancer_clock(row)
        assert row.told_by == first
        session.rollback()
