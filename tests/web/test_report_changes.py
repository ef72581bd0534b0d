"""Changing a signed report: a version with its reason, an addendum, and nothing edited ever."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.records import report_versions
from clinic.records.models import LoginSession, Notice, SignedReport
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    DECISION,
    both_databases,
    count,
    entries,
    row_of,
    table_bytes,
    words,
)
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
CHANGE = {
    **{name: value for name, value in DECISION.items() if name != "agreement"},
    "status": "amended",
    "change_reason": "pathology",
    "plan": "biopsy",
    "patient_text": "We want to test this spot.",
    "version": "1",
}


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.signed(world.alice, world.bob)


def change(browser: BrowserSession, case: str, **changed: str) -> Any:
    return browser.post(f"/review/{case}/change", {**CHANGE, "action": "sign", **changed})


def reports(world: World, case: str) -> list[SignedReport]:
    with world.sessions() as session:
        return list(report_versions.versions(session, case))


@both_databases
def test_a_change_is_looked_at_and_signed_as_the_next_version(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.signed(world.alice, world.bob), signed_in("bob")
    form = bob.get(f"/review/{case}/change").text
    assert "This spot is harmless." in form
    assert "A clinical note." in form

    preview = bob.post(f"/review/{case}/change", CHANGE)
    assert len(reports(world, case)) == 1
    shown = words(preview.text)
    assert "Management Benign: advice and no follow-up Biopsy or excision" in shown
    assert "The result of a skin test came" in shown
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', preview.text))

    answer = bob.post(f"/review/{case}/change", {**hidden, "action": "sign"})

    assert answer.location == f"/review/{case}"
    first, second = reports(world, case)
    assert (first.plan, second.plan) == ("benign_advice", "biopsy")
    assert (second.version, second.status, second.change_reason) == (2, "amended", "pathology")
    assert second.agreement == first.agreement
    (entry,) = entries(world, AuditAction.REPORT_CHANGED)
    assert entry.detail == "version 2, amended, pathology"
    assert b"test this spot" not in table_bytes(world)


def test_the_patient_is_told_and_sees_what_changed_and_what_stood_before(
    world: World, bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    change(bob, case, diagnosis="mel", icd10_code="C43.59")

    with world.sessions() as session:
        assert [one.kind for one in session.scalars(select(Notice))] == ["news"]
    page = words(signed_in("alice").get(f"/cases/{case}").text)
    for shown in (
        "Changed on",
        "The result of your skin test came.",
        "What to do now.",
        "We want to test this spot.",
        "What we wrote before",
        "This spot is harmless.",
        "changed report, version 2",
    ):
        assert shown in page
    for hidden in ("Melanoma", "C43", "A clinical note."):
        assert hidden not in page


def test_the_patients_list_says_that_there_is_an_update_until_they_read_it(
    world: World, bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    alice = signed_in("alice")
    update = "There is an update of your result."
    alice.get(f"/cases/{case}")
    assert update not in alice.get("/cases").text

    change(bob, case)

    assert row_of(world, case).told_at is None
    assert "The patient has not opened the result yet." in bob.get(f"/review/{case}").text
    assert update in alice.get("/cases").text
    alice.get(f"/cases/{case}")
    assert update not in alice.get("/cases").text
    assert row_of(world, case).told_at is not None


def test_every_version_can_be_read_at_the_desk_with_what_it_changed(
    bob: BrowserSession, case: str
) -> None:
    change(bob, case)

    newest, first = (words(bob.get(f"/review/{case}{q}").text) for q in ("", "?version=1"))
    assert "Version 2" in newest
    assert "What version 2 changed" in newest
    assert "This is version 1. It counts no more." in first
    assert "This spot is harmless." in first
    assert "Change the report" not in first
    assert bob.get(f"/review/{case}?version=3").status_code == 404
    assert bob.get(f"/review/{case}?version=x").status_code == 404


def test_an_addendum_stands_behind_what_was_signed_and_changes_none_of_it(
    world: World, bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    form = {"patient_text": "Bring your list of drugs.", "clinical_note": "Told.", "version": "1"}
    answer = bob.post(f"/review/{case}/addendum", form)

    assert answer.location == f"/review/{case}"
    first, second = reports(world, case)
    assert (second.status, second.change_reason) == ("appended", "addendum")
    same = ("diagnosis", "icd10cm", "plan", "confidence", "agreement", "follow_up_on")
    assert all(getattr(first, name) == getattr(second, name) for name in same)
    page = words(bob.get(f"/review/{case}").text)
    assert re.search(r"This spot is harmless\. Added on .*: Bring your list of drugs\.", page)
    assert re.search(r"A clinical note\. Added on .*: Told\.", page)
    patient = words(signed_in("alice").get(f"/cases/{case}").text)
    assert "Bring your list of drugs." in patient
    assert "Told." not in patient


def test_of_two_tabs_that_change_one_version_the_second_is_told(
    world: World, bob: BrowserSession, case: str
) -> None:
    change(bob, case)
    late = change(bob, case, patient_text="Another text.")
    addendum = bob.post(f"/review/{case}/addendum", {"patient_text": "More.", "version": "1"})

    for answer, typed in ((late, "Another text."), (addendum, "More.")):
        assert answer.status_code == 409
        assert "Another version was signed since you began." in answer.text
        assert typed in answer.text
    assert len(reports(world, case)) == 2


def test_without_a_fresh_proof_nothing_is_signed_and_nothing_lost(
    world: World, bob: BrowserSession, case: str
) -> None:
    with world.sessions() as session, session.begin():
        for login in session.query(LoginSession):
            login.stepped_up_at = None

    answer = change(bob, case)
    assert answer.location.startswith("/step-up")
    assert len(reports(world, case)) == 1
    back = bob.get(f"/review/{case}/change?preview=1").text
    assert "We want to test this spot." in back
    assert "Sign and send to the patient" in back

    answer = bob.post(f"/review/{case}/addendum", {"patient_text": "More words.", "version": "1"})
    assert answer.location.startswith("/step-up")
    assert "More words." in bob.get(f"/review/{case}/addendum").text


WRONG = [
    ({"status": ""}, "Choose: amend or correct."),
    ({"change_reason": ""}, "Choose a reason."),
    ({"change_reason": "mood"}, "Not a valid choice."),
    ({"plan": "retake"}, "A signed report needs a plan."),
    ({"icd10_code": "C43.59"}, "is a code of: Melanoma"),
    ({"patient_text": ""}, "Write what the patient should read."),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_a_change_with_a_mistake_comes_back_with_words(
    world: World, bob: BrowserSession, case: str, changed: dict[str, str], said: str
) -> None:
    answer = change(bob, case, **changed)

    assert answer.status_code == 422
    assert said in answer.text
    assert count(world, SignedReport) == 1


def test_only_the_signer_changes_a_report(world: World, case: str, signed_in: SignedIn) -> None:
    for name in ("dan", "erin", "alice"):
        assert change(signed_in(name), case).status_code == 403
    assert change(signed_in("frank"), case).status_code == 404
    assert len(reports(world, case)) == 1


def test_no_way_of_an_open_case_leads_into_a_signed_report(
    world: World, bob: BrowserSession, case: str
) -> None:
    before = reports(world, case)[0]
    for path, form in (
        ("sign", {**DECISION, "action": "sign", "diagnosis": "mel"}),
        ("first-read", {"impression": "mel", "confidence": "low"}),
        ("retake", {"reasons": "blur"}),
        ("release", {"reason": "mistake"}),
        ("claim", {}),
    ):
        assert bob.post(f"/review/{case}/{path}", form).status_code in {302, 403, 409, 422}, path
    (after,) = reports(world, case)
    columns = [one.name for one in SignedReport.__table__.columns]
    assert [getattr(before, one) for one in columns] == [getattr(after, one) for one in columns]


def test_letters_are_filled_in_for_a_change_too(bob: BrowserSession, case: str) -> None:
    page = bob.get(f"/review/{case}/change").text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    form = {**CHANGE, **hidden, "patient_text": "This spot is harmless."}

    answer = bob.post(f"/review/{case}/letters", form)

    assert "We want to test the spot on your back." in answer.text
    assert "This spot is harmless." not in answer.text
