"""Holding a case: renewed by work on it, handed over with a reason, lost when time runs out."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.hand_over import HandOverReason
from clinic.notices import NoticeKind
from clinic.records.db import database_now
from clinic.records.models import HandOver, Notice
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, change_row, count, entries, row_of, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


def claim_ends_in(world: World, case: str, left: timedelta) -> None:
    with world.sessions() as session:
        change_row(world, case, claim_until=database_now(session) + left)


@both_databases
def test_a_case_is_given_to_the_pool_with_a_reason(world: World, signed_in: SignedIn) -> None:
    case, bob, dan = world.claimed(world.alice, world.bob), signed_in("bob"), signed_in("dan")
    without = bob.post(f"/review/{case}/release", {"reason": ""})
    assert without.location == f"/review/{case}"
    assert "Choose who goes on with the case, and a reason." in bob.get(without.location).text
    assert row_of(world, case).claimed_by == world.bob.account_id

    assert bob.post(f"/review/{case}/release", {"reason": "conflict"}).location == "/review"

    assert row_of(world, case).claimed_by is None
    assert [one.detail for one in entries(world, AuditAction.CASE_RELEASED)] == ["conflict"]
    assert dan.post(f"/review/{case}/claim").status_code == 302
    assert "Handed over by Reader Bob" in words(dan.get(f"/review/{case}").text)


@both_databases
def test_a_case_is_given_to_a_colleague_who_is_told_without_its_content(
    world: World, signed_in: SignedIn
) -> None:
    case, bob, dan = world.claimed(world.alice, world.bob), signed_in("bob"), signed_in("dan")
    due = row_of(world, case).due_at
    form = {"to": world.dan.account_id, "reason": "other_expertise"}

    assert bob.post(f"/review/{case}/release", form).location == "/review"

    row = row_of(world, case)
    assert (row.claimed_by, row.due_at) == (world.dan.account_id, due)
    assert case in dan.get("/review?show=mine").text
    assert "You</b> have this case" in dan.get(f"/review/{case}").text
    assert bob.post(f"/review/{case}/claim").status_code == 409
    (entry,) = entries(world, AuditAction.CASE_HANDED_OVER)
    assert entry.detail == f"other_expertise, to {world.dan.account_id}"
    with world.sessions() as session:
        (notice,) = session.scalars(select(Notice))
    assert (notice.kind, notice.account_id) == (
        NoticeKind.CASE_HANDED_OVER,
        world.dan.account_id,
    )


def test_only_colleagues_of_the_clinic_can_be_chosen(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    world.add_person("ruth", Role.DERMATOLOGIST)
    assert "Reader Ruth" in bob.get(f"/review/{case}").text
    for nobody in (world.frank, world.erin, world.bob, world.carol):
        form = {"to": nobody.account_id, "reason": "end_of_shift"}
        assert bob.post(f"/review/{case}/release", form).location == f"/review/{case}"
    assert row_of(world, case).claimed_by == world.bob.account_id
    assert count(world, HandOver) == 0


@pytest.mark.parametrize("reason", ["boredom", "END_OF_SHIFT", "x" * 3000])
def test_a_reason_that_is_not_in_the_list_is_refused(
    world: World, signed_in: SignedIn, reason: str
) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    assert bob.post(f"/review/{case}/release", {"reason": reason}).location == f"/review/{case}"
    assert row_of(world, case).claimed_by == world.bob.account_id
    assert len(entries(world, AuditAction.REQUEST_REFUSED)) == 1


def test_a_case_that_was_passed_on_for_good_is_not_served_again(
    world: World, signed_in: SignedIn
) -> None:
    first, second = (world.claimed(world.alice, world.bob) for _ in range(2))
    bob = signed_in("bob")
    for case in (first, second):
        bob.post(f"/review/{case}/release", {"reason": HandOverReason.CONFLICT})
    assert bob.post("/review/next").location == "/review"
    assert signed_in("dan").post("/review/next").location in {
        f"/review/{first}",
        f"/review/{second}",
    }


def test_the_page_s_heartbeat_renews_the_claim_and_leaves_no_entry(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    claim_ends_in(world, case, timedelta(minutes=3))
    bob.csrf_token()
    before = count_of_entries(world)

    answer = bob.post(f"/review/{case}/claim/renew")

    assert answer.status_code == 200
    assert set(answer.json) == {"until", "left"}
    assert answer.json["left"] > 29 * 60
    assert count_of_entries(world) == before


def count_of_entries(world: World) -> int:
    return sum(len(entries(world, action)) for action in AuditAction)


def test_without_a_script_each_request_about_the_case_renews_the_claim(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    for act in (
        lambda: bob.get(f"/review/{case}"),
        lambda: bob.post(f"/review/{case}/first-read", {"impression": "nv"}),
    ):
        claim_ends_in(world, case, timedelta(minutes=3))
        act()
        with world.sessions() as session:
            left = row_of(world, case).claim_until - database_now(session)
        assert left > timedelta(minutes=29)


def test_a_look_by_somebody_else_renews_nothing(world: World, signed_in: SignedIn) -> None:
    case = world.claimed(world.alice, world.bob)
    claim_ends_in(world, case, timedelta(minutes=3))
    until = row_of(world, case).claim_until
    signed_in("dan").get(f"/review/{case}")
    signed_in("alice").get(f"/cases/{case}")
    assert row_of(world, case).claim_until == until


@both_databases
def test_whose_time_ran_out_is_told_so_and_changes_nothing(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")
    claim_ends_in(world, case, timedelta(seconds=-1))
    for action in ("first-read", "sign", "retake", "release", "claim/renew"):
        answer = bob.post(f"/review/{case}/{action}", {"reason": "mistake"})
        assert answer.status_code == 403
        assert "You do not hold this case now" in words(answer.text), action
    assert row_of(world, case).case_state == "awaiting_review"
    assert count(world, HandOver) == 0


def test_the_date_on_which_a_patient_was_told_is_kept_once(
    world: World, signed_in: SignedIn
) -> None:
    case, alice, bob = world.signed(world.alice, world.bob), signed_in("alice"), signed_in("bob")
    assert "The patient has not opened the result yet." in bob.get(f"/review/{case}").text
    assert row_of(world, case).told_at is None

    alice.get(f"/cases/{case}")
    told_at = row_of(world, case).told_at
    alice.get(f"/cases/{case}")

    assert told_at is not None
    assert row_of(world, case).told_at == told_at
    assert "The patient was told on" in bob.get(f"/review/{case}").text


def test_a_letter_that_was_posted_counts_as_told(world: World, signed_in: SignedIn) -> None:
    case, bob = world.signed(world.alice, world.bob), signed_in("bob")
    assert bob.post(f"/review/{case}/letter-posted").location == f"/review/{case}"
    assert row_of(world, case).told_at is not None
    (entry,) = entries(world, AuditAction.LETTER_POSTED)
    assert (entry.actor, entry.submission_id) == (world.bob.account_id, case)
    assert "sent your result by post" in signed_in("alice").get("/my-record/access").text


def test_an_unsigned_case_is_looked_at_by_its_patient_without_being_told(
    world: World, signed_in: SignedIn
) -> None:
    case = world.screened(world.alice)
    signed_in("alice").get(f"/cases/{case}")
    assert row_of(world, case).told_at is None
    bob = signed_in("bob")
    bob.post(f"/review/{case}/claim")
    assert bob.post(f"/review/{case}/letter-posted").status_code == 409
