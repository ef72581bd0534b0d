"""The readers' queue: its order, its filters, and who holds what."""

import base64
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.records import review_queue as records
from clinic.records.db import database_now
from clinic.records.models import Clinic, SignedReport
from clinic.records.review_queue import PAGE_SIZE
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, change_row, entries, row_of, words
from tests.world import World
from web.portal import review_queue
from web.portal.review_queue import SHOWN
from web.portal.wording import reference
from worker.escalation import Escalator

SignedIn = Callable[[str], BrowserSession]
CASE_LINK = re.compile(r'href="/review/([0-9a-f]{32})"')


def listed(page: str) -> list[str]:
    return CASE_LINK.findall(page)


def three_cases(world: World) -> list[str]:
    """An urgent, a suspicious and a routine case, the last one overdue."""
    cases = [world.screened(world.alice) for _ in range(3)]
    with world.sessions() as session:
        now = database_now(session)
    for urgency, case in enumerate(cases):
        late = timedelta(hours=-1 if urgency == 2 else 5)
        change_row(world, case, urgency=urgency, due_at=now + late)
    return cases


@both_databases
def test_the_most_urgent_comes_first_and_then_what_is_due_first(
    world: World, signed_in: SignedIn
) -> None:
    urgent, suspicious, routine = three_cases(world)
    later = world.screened(world.alice)
    change_row(world, later, urgency=0, due_at=row_of(world, urgent).due_at + timedelta(hours=1))

    assert listed(signed_in("bob").get("/review").text) == [urgent, later, suspicious, routine]


def test_many_cases_are_counted_no_further_than_anybody_reads(
    world: World, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_cases(world)
    for module in (records, review_queue):
        monkeypatch.setattr(module, "COUNT_LIMIT", 2)
    page = words(signed_in("bob").get("/review").text)
    assert "All open 2+" in page
    assert "Urgent 1 " in page


@both_databases
def test_each_list_and_filter_shows_its_cases(world: World, signed_in: SignedIn) -> None:
    urgent, suspicious, routine = three_cases(world)
    asked = world.screened(world.alice)
    change_row(world, asked, case_state="unreadable", retake_reason="Blurred.")
    bob, dan = signed_in("bob"), signed_in("dan")
    bob.post(f"/review/{suspicious}/claim")

    shown = {name: set(listed(bob.get(f"/review?show={name}").text)) for name in SHOWN}

    assert shown == {
        "unclaimed": {urgent, routine},
        "held": {suspicious},
        "waiting": {asked},
        "all": {urgent, suspicious, routine},
        "mine": {suspicious},
        "urgent": {urgent},
        "overdue": {routine},
    }
    assert listed(dan.get("/review?show=mine").text) == []


def test_the_queue_is_narrowed_to_a_site_and_so_are_its_numbers(
    world: World, signed_in: SignedIn
) -> None:
    face, _ = world.screened(world.alice), world.screened(world.alice)
    change_row(world, face, body_site="face")
    page = signed_in("bob").get("/review?site=face").text
    assert listed(page) == [face]
    assert "All open 1" in words(page)
    assert 'value="face" selected' in page
    assert "show=urgent&amp;site=face" in page, "a filter keeps the site"


@pytest.mark.parametrize("query", ["show=nonsense", "site=nowhere", "site=genital"])
def test_a_list_that_does_not_exist_is_refused(signed_in: SignedIn, query: str) -> None:
    for path in ("/review", "/review/live"):
        answer = signed_in("bob").get(f"{path}?{query}")
        assert answer.status_code == 404


def test_the_numbers_that_refresh_themselves_are_sent_only_when_they_changed(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.screened(world.alice), signed_in("bob")
    before = len(entries(world, AuditAction.CASE_LISTED))
    first = bob.get("/review/live?show=urgent")
    same = bob.get("/review/live?show=urgent", headers={"If-None-Match": first.headers["ETag"]})
    world.screened(world.alice)
    changed = bob.get("/review/live?show=urgent", headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, same.status_code, changed.status_code) == (200, 304, 200)
    assert same.text == ""
    assert "All open 2" in words(changed.text)
    assert case not in first.text
    assert first.headers["Cache-Control"] == "no-store"
    assert len(entries(world, AuditAction.CASE_LISTED)) == before


def test_a_case_near_a_limit_is_marked_and_a_suspected_cancer_shows_its_date(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.screened(world.alice), signed_in("bob")
    with world.sessions() as session:
        now = database_now(session)
    change_row(
        world,
        case,
        urgency=1,
        received_at=now - timedelta(days=21),
        due_at=now + timedelta(hours=2),
        escalate_at=now,
        told_by=None,
    )
    assert "80 % used" not in bob.get("/review").text
    Escalator(world.sessions, world.auditor).escalate()
    page = words(bob.get("/review").text)
    assert "80 % used" in page
    assert f"28 days: {(now + timedelta(days=7)).strftime('%-d %b')}" in page
    assert "28 days:" in bob.get(f"/review/{case}").text


@both_databases
def test_a_patient_who_was_not_told_in_time_stands_below_the_queue_until_they_are(
    world: World, signed_in: SignedIn
) -> None:
    case, dan = world.signed(world.alice, world.bob), signed_in("dan")
    with world.sessions() as session, session.begin():
        report = session.scalars(select(SignedReport)).one()
        report.signed_at = database_now(session) - timedelta(days=9)
    Escalator(world.sessions, world.auditor).escalate()

    page = words(dan.get("/review").text)
    assert "Signed, but the patient does not know yet" in page
    assert f"{reference(case)} Reader Bob" in page
    assert case in listed(signed_in("bob").get("/review").text)
    assert reference(case) not in signed_in("frank").get("/review").text

    signed_in("alice").get(f"/cases/{case}")
    assert "does not know yet" not in dan.get("/review").text


def test_a_case_that_waits_for_its_patient_cannot_be_taken_and_says_so(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.screened(world.alice), signed_in("bob")
    change_row(world, case, case_state="unreadable", retake_reason="Blurred.")
    page = bob.get(f"/review/{case}").text
    assert "Waits for new photos of the patient." in page
    assert f'/review/{case}/claim"' not in page
    assert bob.post(f"/review/{case}/claim").status_code == 409


def test_the_clinic_is_named_above_its_queue(world: World, signed_in: SignedIn) -> None:
    for name in ("bob", "frank"):
        with world.sessions() as session:
            clinic = session.get_one(Clinic, world.people[name].clinic_id)
        assert f"{clinic.name}</span> Review queue" in signed_in(name).get("/review").text


def test_the_queue_shows_no_name_no_history_and_no_other_clinics_case(
    world: World, signed_in: SignedIn
) -> None:
    case = world.screened(world.alice)

    page = words(signed_in("bob").get("/review").text)
    franks = signed_in("frank").get("/review").text

    assert "Alice" not in page
    assert "below the shoulder blade" not in page
    assert case not in franks
    assert "Nothing is waiting here" in franks


def test_a_signed_or_unfinished_case_is_not_in_the_queue(world: World, signed_in: SignedIn) -> None:
    signed, waiting = world.signed(world.alice, world.bob), world.submit(world.alice)

    page = signed_in("bob").get("/review").text

    assert signed not in page
    assert waiting not in page


def test_pages_follow_each_other_without_gap_or_repetition(
    world: World, signed_in: SignedIn
) -> None:
    cases = {world.screened(world.alice) for _ in range(PAGE_SIZE + 3)}
    bob = signed_in("bob")

    first = bob.get("/review").text
    after = re.search(r"after=([\w%=-]+)", first).group(1)
    second = bob.get(f"/review?after={after}").text

    assert (len(listed(first)), len(listed(second))) == (PAGE_SIZE, 3)
    assert {*listed(first), *listed(second)} == cases
    assert 'rel="next"' not in second


def mark(*place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


ID, MOMENT = "0" * 32, "2026-11-23T10:00:00+00:00"


@both_databases
@pytest.mark.parametrize(
    "after",
    [
        *("nonsense", "é", "e30=", "WzEsMl0=", "WyJhIiwiYiIsImMiXQ==", "W1tb" * 2000),
        *(mark(10**30, MOMENT, ID), mark(-1, MOMENT, ID), mark(float("inf"), MOMENT, ID)),
        *(mark(1, "0001-01-01T00:00:00+23:59", ID), mark(1, "2026-13-01", ID), mark(1, 5, ID)),
        *(mark(1, MOMENT, "short"), mark(1, MOMENT, "\0" * 32), mark(1, MOMENT, None)),
    ],
)
def test_a_page_mark_that_nobody_gave_is_refused(signed_in: SignedIn, after: str) -> None:
    answer = signed_in("bob").get("/review", query_string={"after": after})

    assert answer.status_code == 400
    assert "Start again from the queue" in answer.text


@both_databases
def test_a_claimed_case_is_held_by_one_reader(world: World, signed_in: SignedIn) -> None:
    case, bob, dan = world.screened(world.alice), signed_in("bob"), signed_in("dan")

    assert bob.post(f"/review/{case}/claim").location == f"/review/{case}"
    refused = dan.post(f"/review/{case}/claim")

    assert refused.status_code == 409
    assert "Another reader has this case" in refused.text
    assert row_of(world, case).claimed_by == world.bob.account_id
    assert "Reader Bob" in dan.get("/review").text
    assert [one.actor for one in entries(world, AuditAction.CASE_CLAIMED)] == [world.bob.account_id]


@both_databases
def test_ten_simultaneous_claims_give_the_case_to_one_reader(
    world: World, signed_in: SignedIn
) -> None:
    case = world.screened(world.alice)
    browsers = [signed_in(name) for name in ("bob", "dan") for _ in range(5)]
    tokens = [browser.csrf_token() for browser in browsers]

    def claim(browser: BrowserSession, token: str) -> int:
        data = {"csrf_token": token}
        return browser.client.post(f"/review/{case}/claim", data=data).status_code

    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(claim, browsers, tokens))

    assert sorted(codes) == [302] * 5 + [409] * 5
    assert len(set(codes[:5])) == len(set(codes[5:])) == 1, "one reader won with every tab"


def test_a_claim_that_ran_out_can_be_taken_over_and_is_lost_to_its_first_holder(
    world: World, signed_in: SignedIn
) -> None:
    case, bob, dan = world.claimed(world.alice, world.bob), signed_in("bob"), signed_in("dan")
    with world.sessions() as session:
        change_row(world, case, claim_until=database_now(session) - timedelta(seconds=1))

    assert dan.post(f"/review/{case}/claim").status_code == 302

    assert bob.post(f"/review/{case}/claim").status_code == 409
    assert bob.post(f"/review/{case}/release", {"reason": "mistake"}).status_code == 403
    assert row_of(world, case).claimed_by == world.dan.account_id


def test_next_takes_the_case_that_is_due_first_and_nobody_holds(
    world: World, signed_in: SignedIn
) -> None:
    urgent, suspicious, routine = three_cases(world)
    bob, dan = signed_in("bob"), signed_in("dan")
    taken = [one.post("/review/next").location for one in (bob, dan, bob)]
    nothing = dan.post("/review/next")

    assert taken == [f"/review/{case}" for case in (urgent, suspicious, routine)]
    assert nothing.location == "/review"
    assert "No case is waiting." in dan.get("/review").text


def test_a_case_of_another_clinic_can_be_neither_seen_nor_claimed(
    world: World, signed_in: SignedIn
) -> None:
    case, frank = world.screened(world.alice), signed_in("frank")

    assert frank.get(f"/review/{case}").status_code == 404
    assert frank.post(f"/review/{case}/claim").status_code == 404
    assert frank.post("/review/next").location == "/review"
    assert row_of(world, case).claimed_by is None
