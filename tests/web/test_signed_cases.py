"""Signed cases at the desk: found again by number, handed over, taken over from who left."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.records.db import database_now
from clinic.records.models import Account, HandOver, Notice
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, count, entries, row_of, words
from tests.world import Person, World
from web.portal.wording import reference

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def case(world: World) -> str:
    return world.signed(world.alice, world.bob)


def leaves(world: World, person: Person) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Account, person.account_id).disabled_at = database_now(session)


@pytest.mark.parametrize("typed", [str.upper, str.lower, "  {}  ".format, lambda one: one[:4]])
def test_a_signed_case_is_found_by_its_number_however_it_is_typed(
    signed_in: SignedIn, case: str, typed: Callable[[str], str]
) -> None:
    bob = signed_in("bob")
    found = bob.get("/signed", query_string={"case": typed(reference(case))})
    assert f"/review/{case}" in found.text
    assert reference(case) in words(found.text)


@pytest.mark.parametrize("typed", ["0000-0000", "nonsense", "<b>", "%", "x" * 400, "é"])
def test_a_number_of_no_case_finds_none_and_says_what_one_looks_like(
    signed_in: SignedIn, case: str, typed: str
) -> None:
    found = signed_in("bob").get("/signed", query_string={"case": typed, "show": "anybody"})
    assert found.status_code == 200
    assert "No signed case has this number" in words(found.text)
    assert case not in found.text


def test_lists_name_who_answers_and_open_only_what_is_the_reader_s(
    signed_in: SignedIn, case: str
) -> None:
    dan = signed_in("dan")
    assert case not in dan.get("/signed").text
    shown = dan.get("/signed?show=anybody").text
    assert "Reader Bob" in shown
    assert f'href="/review/{case}"' not in shown
    refused = dan.get(f"/review/{case}")
    assert refused.status_code == 403
    assert "Reader Bob answers for this signed case." in words(refused.text)


@pytest.mark.parametrize("query", ["show=none", "after=x", "after=WzFd", "after=bm90IGpzb24="])
def test_a_list_or_page_that_does_not_exist_is_refused(signed_in: SignedIn, query: str) -> None:
    assert signed_in("bob").get(f"/signed?{query}").status_code in {400, 404}


@both_databases
def test_the_report_of_a_doctor_who_left_is_taken_over_and_answered_for(
    world: World, signed_in: SignedIn, case: str
) -> None:
    dan = signed_in("dan")
    assert dan.post(f"/review/{case}/report/take-over").status_code == 409
    leaves(world, world.bob)
    assert "Nobody answers for this signed case now." in words(dan.get(f"/review/{case}").text)
    assert "Take over" in words(dan.get("/signed?show=nobody").text)

    assert dan.post(f"/review/{case}/report/take-over").location == f"/review/{case}"

    assert "You answer for this report now" in words(dan.get(f"/review/{case}").text)
    assert dan.get(f"/review/{case}/change").status_code == 200
    assert dan.get(f"/review/{case}/messages").status_code == 200
    (entry,) = entries(world, AuditAction.REPORT_TAKEN_OVER)
    assert (entry.actor, entry.submission_id) == (world.dan.account_id, case)
    assert (
        "took on your case from a doctor who left"
        in signed_in("alice").get("/my-record/access").text
    )
    assert "Every signed case has a doctor" in words(dan.get("/signed?show=nobody").text)


@both_databases
def test_a_report_is_handed_over_to_a_colleague_who_is_told(
    world: World, signed_in: SignedIn, case: str
) -> None:
    bob, dan = signed_in("bob"), signed_in("dan")
    form = {"to": world.dan.account_id, "reason": "end_of_shift"}

    assert bob.post(f"/review/{case}/report/hand-over", form).location == "/signed"

    assert row_of(world, case).claimed_by == world.dan.account_id
    assert "Reader Bob handed it over to Reader Dan" in words(dan.get(f"/review/{case}").text)
    assert bob.get(f"/review/{case}/change").status_code == 403
    (entry,) = entries(world, AuditAction.CASE_HANDED_OVER)
    assert entry.detail == f"signed report, end_of_shift, to {world.dan.account_id}"
    with world.sessions() as session:
        notice = session.scalars(select(Notice)).one()
    assert (notice.kind, notice.account_id) == (
        NoticeKind.CASE_HANDED_OVER,
        world.dan.account_id,
    )


@pytest.mark.parametrize("missing", ["to", "reason"])
def test_a_report_is_not_handed_over_to_nobody_or_without_a_reason(
    world: World, signed_in: SignedIn, case: str, missing: str
) -> None:
    bob = signed_in("bob")
    form = {"to": world.dan.account_id, "reason": "end_of_shift"} | {missing: ""}
    refused = bob.post(f"/review/{case}/report/hand-over", form)
    assert refused.location == f"/review/{case}"
    assert "Choose who answers for the report" in words(bob.get(refused.location).text)
    assert count(world, HandOver) == 0


def test_only_dermatologists_of_the_clinic_can_answer_for_a_report(
    world: World, signed_in: SignedIn, case: str
) -> None:
    bob = signed_in("bob")
    for nobody in (world.frank, world.erin, world.bob, world.carol):
        form = {"to": nobody.account_id, "reason": "end_of_shift"}
        assert bob.post(f"/review/{case}/report/hand-over", form).location == f"/review/{case}"
    assert row_of(world, case).claimed_by == world.bob.account_id


def test_an_open_case_is_not_handed_over_as_a_report(world: World, signed_in: SignedIn) -> None:
    case = world.first_read(world.alice, world.bob)
    form = {"to": world.dan.account_id, "reason": "end_of_shift"}
    assert signed_in("bob").post(f"/review/{case}/report/hand-over", form).status_code == 403
