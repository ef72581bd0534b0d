"""Consents: the newest decision counts, within its period, and none is ever changed."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from clinic.consent import ConsentDecision, Purpose
from clinic.records import consents
from clinic.records.db import database_now
from clinic.records.models import Consent
from tests.world import World


def decide(world: World, purpose: Purpose, *, permitted: bool, days: int | None = None) -> None:
    with world.sessions() as session, session.begin():
        until = database_now(session) + timedelta(days=days) if days is not None else None
        decision = ConsentDecision(purpose, permitted, until)
        consents.record(session, world.alice.patient_id or "", [decision])


def permits(world: World, purpose: Purpose) -> bool:
    with world.sessions() as session:
        return consents.permits(session, world.alice.patient_id or "", purpose)


def let_time_pass(world: World, days: int) -> None:
    """All decisions were made so many days earlier."""
    with world.sessions() as session, session.begin():
        for row in session.scalars(select(Consent)):
            earlier = timedelta(days=days)
            ends = row.valid_until - earlier if row.valid_until else None
            values = {"recorded_at": row.recorded_at - earlier, "valid_until": ends}
            session.execute(update(Consent).where(Consent.id == row.id).values(**values))


def test_what_was_never_decided_is_not_permitted(world: World) -> None:
    assert not permits(world, Purpose.RESEARCH)


def test_the_newest_decision_of_a_purpose_counts_and_the_old_one_stays(world: World) -> None:
    decide(world, Purpose.RESEARCH, permitted=True)
    decide(world, Purpose.RESEARCH, permitted=False)

    assert not permits(world, Purpose.RESEARCH)
    assert permits(world, Purpose.CARE)
    with world.sessions() as session:
        rows = consents.history(session, world.alice.patient_id or "")
    assert [row.permitted for row in rows if row.purpose == Purpose.RESEARCH] == [True, False]


def test_a_consent_ends_with_its_period(world: World) -> None:
    decide(world, Purpose.RESEARCH, permitted=True, days=365)
    let_time_pass(world, 364)
    assert permits(world, Purpose.RESEARCH)
    let_time_pass(world, 1)
    assert not permits(world, Purpose.RESEARCH)


def test_a_decision_holds_and_is_the_newest_also_after_the_clock_went_back(world: World) -> None:
    decide(world, Purpose.TEACHING, permitted=True)
    let_time_pass(world, -1)
    assert permits(world, Purpose.TEACHING)
    decide(world, Purpose.TEACHING, permitted=False)
    assert not permits(world, Purpose.TEACHING)


def test_a_period_without_a_length_is_impossible(world: World) -> None:
    with pytest.raises(IntegrityError, match="consent_period_has_a_length"):
        decide(world, Purpose.RESEARCH, permitted=True, days=-1)


@pytest.mark.parametrize("purpose", [Purpose.CARE, Purpose.TELEDERMATOLOGY, Purpose.AI_ASSISTANCE])
def test_the_computer_needs_care_and_its_own_consent(world: World, purpose: Purpose) -> None:
    with world.sessions() as session:
        assert consents.permits_computer(session, world.alice.patient_id or "")
    decide(world, purpose, permitted=False)
    with world.sessions() as session:
        assert not consents.permits_computer(session, world.alice.patient_id or "")


def test_who_stopped_care_is_listed_for_their_clinic_with_open_cases(world: World) -> None:
    world.submit(world.alice)
    world.signed(world.alice, world.bob)
    decide(world, Purpose.CARE, permitted=False)

    with world.sessions() as session:
        (found,) = consents.care_withdrawn(session, clinic_id=world.clinic_id, limit=5)
        assert found.open_cases == 1
        assert consents.care_withdrawn(session, clinic_id=world.other_clinic_id, limit=5) == []
    decide(world, Purpose.CARE, permitted=True)
    with world.sessions() as session:
        assert consents.care_withdrawn(session, clinic_id=world.clinic_id, limit=5) == []
