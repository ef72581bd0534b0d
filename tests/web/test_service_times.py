"""The clinic's service times: changed by its administrators alone, on record, for what comes."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from clinic.audit_event import AuditAction
from clinic.due_time import WORKING_DAYS, Clock
from clinic.records import service_clock
from clinic.records.db import database_now
from clinic.records.models import Clinic
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, entries, forget_proofs, row_of, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
LIMITS = {"urgent": "2", "suspicious": "3", "routine": "10", "retake": "2", "told": "1"}


def days(world: World, clinic_id: str) -> dict[Clock, int]:
    with world.sessions() as session:
        return dict(service_clock.service_times(session, clinic_id).working_days)


def tomorrow(world: World, ahead: int = 1) -> date:
    with world.sessions() as session:
        return (database_now(session) + timedelta(days=ahead)).date()


@both_databases
def test_limits_are_changed_for_this_clinic_alone_and_on_record(
    world: World, signed_in: SignedIn
) -> None:
    erin = signed_in("erin")
    assert days(world, world.clinic_id) == WORKING_DAYS

    answer = erin.post("/service-times", LIMITS)

    assert answer.location == "/service-times"
    page = erin.get("/service-times").text
    assert "The limits are changed." in page
    assert 'value="10"' in page
    assert days(world, world.clinic_id) == {Clock(one): int(n) for one, n in LIMITS.items()}
    assert days(world, world.other_clinic_id) == WORKING_DAYS
    (entry,) = entries(world, AuditAction.SERVICE_TIMES_CHANGED)
    assert entry.detail == "urgent 2, suspicious 3, routine 10, retake 2, told 1"
    assert (entry.actor, entry.clinic_id) == (world.erin.account_id, world.clinic_id)


@pytest.mark.parametrize("wrong", ["", "0", "-1", "61", "1.5", "two", "9" * 40, "½"])
def test_a_limit_that_cannot_be_is_refused_and_says_what_can(
    world: World, signed_in: SignedIn, wrong: str
) -> None:
    answer = signed_in("erin").post("/service-times", {**LIMITS, "urgent": wrong})
    assert answer.status_code == 422
    assert "Enter a whole number of working days from 1 to 60." in answer.text
    assert days(world, world.clinic_id) == WORKING_DAYS


def test_a_date_that_was_promised_stays_and_new_cases_get_the_new_limit(
    world: World, signed_in: SignedIn
) -> None:
    before = world.screened(world.alice)
    promised = row_of(world, before).due_at
    slower = dict.fromkeys(LIMITS, "30")
    signed_in("erin").post("/service-times", slower)
    after = world.screened(world.alice)
    assert row_of(world, before).due_at == promised
    assert row_of(world, after).due_at > promised


@both_databases
def test_named_people_are_told_and_nobody_named_means_all_administrators(
    world: World, signed_in: SignedIn
) -> None:
    erin = signed_in("erin")
    assert "Told now: Reader Erin, administrator" in told(erin)
    chosen = [world.bob.account_id, world.grace.account_id]

    assert erin.post("/service-times/contacts", {"contacts": chosen}).status_code == 302

    assert "Reader Bob, dermatologist" in told(erin)
    assert "Reader Grace, auditor" in told(erin)
    with world.sessions() as session:
        assert service_clock.named_contacts(session, world.clinic_id) == set(chosen)
    erin.post("/service-times/contacts")
    assert "Told now: Reader Erin, administrator" in told(erin)
    assert len(entries(world, AuditAction.SERVICE_TIMES_CHANGED)) == 2


def told(browser: BrowserSession) -> str:
    page = words(browser.get("/service-times").text)
    return page[page.index("Told now:") : page.index("Change who is told")]


def test_patients_and_people_of_other_clinics_cannot_be_named(
    world: World, signed_in: SignedIn
) -> None:
    erin = signed_in("erin")
    for person in (world.alice, world.frank):
        answer = erin.post("/service-times/contacts", {"contacts": [person.account_id]})
        assert answer.status_code == 422
    with world.sessions() as session:
        assert service_clock.named_contacts(session, world.clinic_id) == set()


@both_databases
def test_a_closed_day_is_added_once_and_removed(world: World, signed_in: SignedIn) -> None:
    erin, day = signed_in("erin"), tomorrow(world)
    for _ in range(2):
        assert erin.post("/service-times/holidays", {"day": day.isoformat()}).status_code == 302
    assert f'value="{day.isoformat()}"' in erin.get("/service-times").text
    with world.sessions() as session:
        assert service_clock.holidays(session, world.clinic_id) == [day]
        assert service_clock.holidays(session, world.other_clinic_id) == []

    erin.post("/service-times/holidays/remove", {"day": day.isoformat()})

    assert "No closed day is planned." in erin.get("/service-times").text
    details = [one.detail for one in entries(world, AuditAction.SERVICE_TIMES_CHANGED)]
    assert details == [f"closed on {day}", f"closed on {day}", f"open on {day}"]


@pytest.mark.parametrize("day", ["", "yesterday", "2026-02-30", "2020-01-01", "99999-01-01"])
def test_a_day_that_is_over_or_none_is_refused(world: World, signed_in: SignedIn, day: str) -> None:
    answer = signed_in("erin").post("/service-times/holidays", {"day": day})
    assert answer.status_code == 422
    assert ("This day is over." if day == "2020-01-01" else "Choose a real day") in answer.text
    with world.sessions() as session:
        assert service_clock.holidays(session, world.clinic_id) == []


def test_today_is_the_clinic_s_own(world: World, signed_in: SignedIn) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Clinic, world.clinic_id).time_zone = "Pacific/Kiritimati"  # UTC+14
    erin = signed_in("erin")
    with world.sessions() as session:
        ahead = database_now(session) + timedelta(hours=14)
    yesterday = (ahead - timedelta(days=1)).date().isoformat()
    assert erin.post("/service-times/holidays", {"day": yesterday}).status_code == 422
    today = ahead.date().isoformat()
    assert erin.post("/service-times/holidays", {"day": today}).status_code == 302


@pytest.mark.parametrize(
    "path",
    [
        *("/service-times", "/service-times/contacts"),
        *("/service-times/holidays", "/service-times/holidays/remove"),
    ],
)
def test_nothing_is_changed_without_a_fresh_proof_of_who_it_is(
    world: World, signed_in: SignedIn, path: str
) -> None:
    erin = signed_in("erin")
    forget_proofs(world)
    sent = {**LIMITS, "contacts": [world.bob.account_id], "day": tomorrow(world).isoformat()}

    assert erin.post(path, sent).location == "/step-up?next=/service-times"

    assert days(world, world.clinic_id) == WORKING_DAYS
    assert entries(world, AuditAction.SERVICE_TIMES_CHANGED) == []
