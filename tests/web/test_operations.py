"""For administrators: the machine and the audit log, without a photo and without a name."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from clinic.audit_event import AuditAction
from clinic.records import keys, screening_queue
from clinic.records.db import database_now
from clinic.records.models import AuditEntry, ProcessKey
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, entries, words
from tests.world import World
from web.portal.wording import reference

SignedIn = Callable[[str], BrowserSession]
PATHS = ("/operations", "/audit")


@pytest.fixture
def erin(signed_in: SignedIn) -> BrowserSession:
    return signed_in("erin")


@both_databases
def test_the_pages_show_no_photo_and_no_patient(world: World, signed_in: SignedIn) -> None:
    signed = world.signed(world.alice, world.bob)
    waiting = world.claimed(world.carol, world.bob)
    browser = signed_in("bob")
    browser.get(f"/review/{waiting}")
    erin = signed_in("erin")

    for path in PATHS:
        answer = erin.get(path)
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
    rows = {row[0]: row[1:] for row in table_rows(page)}

    assert rows["screening: queued"][-2] == "3"
    assert rows["case: awaiting review"][-2] == "1"


def table_rows(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [[words(one).strip() for one in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_a_case_that_the_computer_gave_up_on_is_listed_with_its_reason(
    world: World, erin: BrowserSession
) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(
            session, hint=case, lease=timedelta(seconds=30), limit=1
        )
        assert held is not None
        screening_queue.give_up(session, held, reason="DecodeTimeout")

    page = erin.get("/operations").text

    assert [reference(case), "DecodeTimeout"] == [
        one for row in table_rows(page) for one in row if one in {reference(case), "DecodeTimeout"}
    ]


def test_a_silent_worker_is_shown_as_not_seen_and_its_model_as_gone(
    world: World, erin: BrowserSession
) -> None:
    assert "Never seen" in erin.get("/operations").text
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
    assert "a" * 64 not in page


def audit_sequences(page: str) -> list[int]:
    return [int(row[0]) for row in table_rows(page) if row and row[0].isdigit()]


@both_databases
def test_the_audit_log_is_searched_by_person_action_and_case(
    world: World, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    other = world.claimed(world.alice, world.bob)
    bob, erin = signed_in("bob"), signed_in("erin")
    for one in (case, other, case):
        bob.get(f"/review/{one}")
    signed_in("carol").get(f"/cases/{case}")

    def found(**filters: str) -> int:
        return len(audit_sequences(erin.get("/audit", query_string=filters).text))

    assert found(action=AuditAction.CASE_READ) == 3
    assert found(action=AuditAction.CASE_READ, reference=reference(case)) == 2
    assert found(action=AuditAction.CASE_READ, reference=reference(case).lower()) == 2
    assert found(action=AuditAction.ACCESS_DENIED, actor=world.carol.account_id) == 1
    assert found(actor="nobody") == 0
    assert found(reference="%") == 0
    page = words(erin.get("/audit", query_string={"action": AuditAction.ACCESS_DENIED}).text)
    assert "Denied" in page


def test_an_action_that_does_not_exist_is_refused(erin: BrowserSession) -> None:
    answer = erin.get("/audit?action=nonsense")

    assert answer.status_code == 400
    assert "There is no such action." in answer.text


def test_older_entries_follow_page_by_page(world: World, erin: BrowserSession) -> None:
    with world.sessions() as session, session.begin():
        for _ in range(120):
            world.auditor.record(
                session, AuditAction.CASE_LISTED, "somebody", clinic_id=world.clinic_id
            )
    seen: list[int] = []
    query = {"actor": "somebody"}
    for _ in range(3):
        page = erin.get("/audit", query_string=query).text
        seen += audit_sequences(page)
        query["after"] = str(seen[-1])

    assert len(seen) == 120
    assert seen == sorted(set(seen), reverse=True)
    assert "Older entries" not in page


def test_the_log_of_another_clinic_is_not_shown(world: World, erin: BrowserSession) -> None:
    with world.sessions() as session, session.begin():
        world.auditor.record(
            session, AuditAction.CASE_READ, "stranger", clinic_id=world.other_clinic_id
        )

    assert "stranger" not in erin.get("/audit").text


def test_looking_at_the_pages_is_itself_audited(world: World, erin: BrowserSession) -> None:
    erin.get("/operations")
    erin.get("/audit", query_string={"action": AuditAction.SIGNED_IN})

    assert len(entries(world, AuditAction.OPERATIONS_READ)) == 1
    (searched,) = entries(world, AuditAction.AUDIT_SEARCHED)
    assert (searched.actor, searched.detail) == (world.erin.account_id, AuditAction.SIGNED_IN)


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
    erin = signed_in("erin")
    for path in PATHS:
        assert "ntact" in erin.get(path).text
    with world.sessions() as session, session.begin():
        session.execute(CHANGES[how])

    said = {"changed": "Entry 2 was changed.", "removed": "Entry 2 is missing"}[how]
    for path in PATHS:
        page = words(erin.get(path).text)
        assert said in page
        assert "intact" not in page.lower()
