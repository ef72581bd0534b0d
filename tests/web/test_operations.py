"""For administrators: the machine and the audit log, without a photo and without a name."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.records import keys, screening_queue
from clinic.records.db import database_now
from clinic.records.models import AuditEntry, ProcessKey
from ml.drift import REFERENCE_SIZE, SMALLEST_WINDOW
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, change_row, entries, row_of, words
from tests.results import keep_results
from tests.world import World
from web.portal.wording import reference
from worker.audit_walk import AuditWalker
from worker.escalation import Escalator
from worker.screen_submission import screen

SignedIn = Callable[[str], BrowserSession]
PATHS = ("/operations", "/audit")


@pytest.fixture
def erin(signed_in: SignedIn) -> BrowserSession:
    """The administrator."""
    return signed_in("erin")


@pytest.fixture
def grace(signed_in: SignedIn) -> BrowserSession:
    """The auditor."""
    return signed_in("grace")


@both_databases
def test_the_pages_show_no_photo_and_no_patient(world: World, signed_in: SignedIn) -> None:
    signed = world.signed(world.alice, world.bob)
    waiting = world.claimed(world.carol, world.bob)
    browser = signed_in("bob")
    browser.get(f"/review/{waiting}")
    grace = signed_in("grace")

    for path in PATHS:
        answer = grace.get(path)
        assert answer.status_code == 200
        page = answer.text
        for personal in ("Alice", "Carol", "Family", "example.org", "harmless", "shoulder"):
            assert personal not in page, path
        assert "data-grant" not in page
        assert "/objects/" not in page
        assert f"/review/{signed}" not in page


def test_queue_depths_are_counted(world: World, erin: BrowserSession) -> None:
    world.screened(world.carol)
    for _ in range(3):
        world.submit(world.alice)

    page = erin.get("/operations").text
    rows = {row[0]: row[1:] for row in table_rows(page) if row}

    assert rows["Wait for the computer"][-1] == "3"
    assert rows["Wait for a dermatologist"][-1] == "1"
    live = {row[0]: row[1:] for row in table_rows(erin.get("/operations/live").text) if row}
    assert live["Wait for the computer"] == rows["Wait for the computer"]


def table_rows(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [[words(one).strip() for one in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def dead(world: World) -> str:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(
            session, hint=case, lease=timedelta(seconds=30), limit=1
        )
        assert held is not None
        screening_queue.give_up(session, held, reason="DecodeTimeout")
    return case


def test_who_was_told_of_a_late_case_is_listed_for_administrators(
    world: World, erin: BrowserSession, grace: BrowserSession
) -> None:
    assert "No case came near its limit." in erin.get("/operations").text
    case = world.screened(world.alice)
    with world.sessions() as session:
        past = database_now(session) - timedelta(hours=1)
    change_row(world, case, due_at=past, escalate_at=past)
    Escalator(world.sessions, world.auditor).escalate()

    (row,) = [one for one in table_rows(erin.get("/operations").text) if reference(case) in one]

    assert row[1:3] == ["Read by a dermatologist", "Past due"]
    assert row[-1] == "Reader Erin, administrator"
    live = {one[0]: one[1:] for one in table_rows(erin.get("/operations/live").text) if one}
    assert live["Read by a dermatologist"] == ["0", "1"]
    assert reference(case) not in grace.get("/operations").text


def retry(browser: BrowserSession, case: str) -> int:
    return browser.post(f"/operations/dead/{case}/retry").status_code


@both_databases
def test_a_case_that_the_computer_gave_up_on_is_listed_and_sent_back_once(
    world: World, signed_in: SignedIn
) -> None:
    erin, case = signed_in("erin"), dead(world)
    listed = [row for row in table_rows(erin.get("/operations").text) if "DecodeTimeout" in row]
    assert [row[0] for row in listed] == [reference(case)]

    assert retry(erin, case) == 302
    page = words(erin.get("/operations").text)
    assert f"Case {reference(case)} goes to the computer once more." in page
    assert "DecodeTimeout" not in page
    assert retry(erin, case) == 409

    assert row_of(world, case).screening_state == "queued"
    (entry,) = entries(world, AuditAction.SCREENING_RETRIED)
    assert (entry.actor, entry.submission_id) == (world.erin.account_id, case)
    assert screen(world.screening(), case) == 1
    assert row_of(world, case).case_state == "awaiting_review"


def test_a_case_that_a_reader_holds_is_not_sent_back(
    world: World, erin: BrowserSession, signed_in: SignedIn
) -> None:
    case = dead(world)
    signed_in("bob").post(f"/review/{case}/claim")

    assert "A reader has it" in erin.get("/operations").text
    assert retry(erin, case) == 403
    assert row_of(world, case).screening_state == "dead"


def test_a_retry_without_the_forms_token_is_refused(world: World, erin: BrowserSession) -> None:
    case = dead(world)

    assert erin.client.post(f"/operations/dead/{case}/retry").status_code == 400
    assert row_of(world, case).screening_state == "dead"


def test_the_numbers_that_refresh_themselves_name_no_case_and_leave_no_entry(
    world: World, erin: BrowserSession
) -> None:
    case = dead(world)
    before = len(entries(world, AuditAction.OPERATIONS_READ))

    part = erin.get("/operations/live").text

    assert case not in part
    assert reference(case) not in part
    assert len(entries(world, AuditAction.OPERATIONS_READ)) == before


def test_drift_is_drawn_with_a_table_beside_each_chart(world: World, erin: BrowserSession) -> None:
    assert "The model has not answered yet." in erin.get("/operations").text
    with world.sessions() as session, session.begin():
        keep_results(session, world, [0.9] * REFERENCE_SIZE + [0.4] * SMALLEST_WINDOW)

    page = erin.get("/operations").text

    assert page.count("<svg") == page.count('role="img"') == page.count(" in numbers</span>") > 3
    assert "One side moved" in page
    assert "The largest change is at" in page


def test_a_silent_worker_is_shown_as_not_seen_and_its_model_as_gone(
    world: World, erin: BrowserSession
) -> None:
    assert "No worker was seen for a day" in erin.get("/operations").text
    with world.sessions() as session, session.begin():
        keys.enrol_process(
            session,
            world.enrolment_key,
            program="worker",
            model_version="v9",
            model_fingerprint="a" * 64,
        )
    page = erin.get("/operations").text
    assert "v9" in page
    assert "a" * 64 in page
    with world.sessions() as session, session.begin():
        session.execute(
            update(ProcessKey)
            .where(ProcessKey.program == "worker")
            .values(last_seen_at=database_now(session) - timedelta(minutes=2))
        )

    page = erin.get("/operations").text
    assert "Not seen" in page
    assert "None alive" in page
    assert "a" * 64 not in page


def audit_sequences(page: str) -> list[int]:
    return [int(row[0]) for row in table_rows(page) if row and row[0].isdigit()]


@both_databases
def test_the_audit_log_is_searched_by_person_action_and_case(
    world: World, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    other = world.claimed(world.alice, world.bob)
    bob, grace = signed_in("bob"), signed_in("grace")
    for one in (case, other, case):
        bob.get(f"/review/{one}")
    signed_in("carol").get(f"/cases/{case}")

    def found(**filters: str) -> int:
        return len(audit_sequences(grace.get("/audit", query_string=filters).text))

    assert found(action=AuditAction.CASE_READ) == 3
    assert found(action=AuditAction.CASE_READ, reference=reference(case)) == 2
    assert found(action=AuditAction.CASE_READ, reference=reference(case).lower()) == 2
    assert found(action=AuditAction.ACCESS_DENIED, actor=world.carol.account_id) == 1
    assert found(actor="nobody") == 0
    assert found(reference="%") == 0
    page = words(grace.get("/audit", query_string={"action": AuditAction.ACCESS_DENIED}).text)
    assert "Denied" in page


def test_an_action_that_does_not_exist_is_refused(grace: BrowserSession) -> None:
    answer = grace.get("/audit?action=nonsense")

    assert answer.status_code == 400
    assert "There is no such action." in answer.text


@pytest.mark.parametrize("after", ["9" * 30, "-1", "1e9", "nan", "٣", ""])
def test_a_place_in_the_log_that_cannot_be_is_the_first_page(
    grace: BrowserSession, after: str
) -> None:
    assert grace.get("/audit", query_string={"after": after}).status_code == 200


def test_older_entries_follow_page_by_page(world: World, grace: BrowserSession) -> None:
    with world.sessions() as session, session.begin():
        for _ in range(120):
            world.auditor.record(
                session, AuditAction.CASE_LISTED, "somebody", clinic_id=world.clinic_id
            )
    seen: list[int] = []
    query = {"actor": "somebody"}
    for _ in range(3):
        page = grace.get("/audit", query_string=query).text
        seen += audit_sequences(page)
        query["after"] = str(seen[-1])

    assert len(seen) == 120
    assert seen == sorted(set(seen), reverse=True)
    assert "Older entries" not in page


def test_the_log_of_another_clinic_is_not_shown(world: World, grace: BrowserSession) -> None:
    with world.sessions() as session, session.begin():
        world.auditor.record(
            session, AuditAction.CASE_READ, "stranger", clinic_id=world.other_clinic_id
        )

    assert "stranger" not in grace.get("/audit").text


def test_looking_at_the_pages_is_itself_audited(world: World, grace: BrowserSession) -> None:
    grace.get("/operations")
    grace.get("/audit", query_string={"action": AuditAction.SIGNED_IN})

    assert len(entries(world, AuditAction.OPERATIONS_READ)) == 1
    (searched,) = entries(world, AuditAction.AUDIT_SEARCHED)
    assert (searched.actor, searched.detail) == (world.grace.account_id, AuditAction.SIGNED_IN)


def walk(world: World) -> None:
    AuditWalker(world.sessions, world.auditor.key).step()


CHANGES = {
    "changed": update(AuditEntry).where(AuditEntry.sequence == 2).values(actor="somebody else"),
    "removed": delete(AuditEntry).where(AuditEntry.sequence == 2),
}


@both_databases
@pytest.mark.parametrize("how", CHANGES)
def test_a_broken_chain_is_shown_with_its_place(
    world: World, signed_in: SignedIn, how: str
) -> None:
    world.screened(world.alice)
    grace = signed_in("grace")
    assert "not checked yet" in grace.get("/audit").text
    walk(world)
    for path in PATHS:
        assert "ntact" in grace.get(path).text
    with world.sessions() as session, session.begin():
        session.execute(CHANGES[how])
    walk(world)

    said = {"changed": "Entry 2 was changed.", "removed": "Entry 2 is missing"}[how]
    for path in PATHS:
        page = words(grace.get(path).text)
        assert said in page
        assert "intact" not in page.lower()


def test_who_operates_sends_cases_back_and_who_audits_reads_the_log(
    world: World, erin: BrowserSession, grace: BrowserSession
) -> None:
    case = dead(world)

    assert reference(case) in erin.get("/operations").text
    assert reference(case) not in grace.get("/operations").text
    assert retry(grace, case) == 403
    assert erin.get("/audit").status_code == 403
    assert "Audit log" not in erin.get("/operations").text


def test_the_numbers_are_of_the_own_clinic_alone(world: World, erin: BrowserSession) -> None:
    henry = world.add_person("henry", Role.PATIENT, clinic_id=world.other_clinic_id)
    world.screened(henry)
    world.submit(henry)
    world.submit(world.alice)

    rows = {row[0]: row[1:] for row in table_rows(erin.get("/operations").text) if row}

    assert rows["Wait for the computer"][-1] == "1"
    assert rows["Wait for a dermatologist"][-1] == "0"
