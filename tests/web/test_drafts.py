"""Drafts in the portal: kept sealed as one types, offered again, one tab at a time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.records.db import database_now
from clinic.records.models import CaseDraft, LoginSession, Notice, SignedReport
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    DECISION,
    FIRST_READ,
    JSON,
    change_row,
    count,
    entries,
    table_bytes,
    words,
)
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
NOTE = {"clinical_note": "Half a sentence about"}


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.first_read(world.alice, world.bob)


def save(browser: BrowserSession, case: str, revision: int, **typed: str) -> Any:
    form = {"written_as": "decision", "draft_revision": str(revision), **typed}
    form["csrf_token"] = browser.csrf_token()
    return browser.client.post(f"/review/{case}/draft", data=form, headers=JSON)


def test_what_was_typed_is_there_again_right_or_wrong(
    world: World, bob: BrowserSession, case: str
) -> None:
    answer = save(bob, case, 0, icd10_code="nonsense", plan="biopsy", **NOTE)

    assert answer.json["revision"] == 1
    page = bob.get(f"/review/{case}").text
    assert "Half a sentence about" in page
    assert 'value="nonsense"' in page
    assert "There is a problem" not in page
    assert "Your draft of" in words(page)
    assert 'name="draft_revision" value="1"' in page
    assert b"Half a sentence" not in table_bytes(world)
    assert len(entries(world, AuditAction.DRAFT_SAVED)) == 1


def test_the_log_holds_the_first_save_and_the_end_of_a_draft_alone(
    world: World, bob: BrowserSession, case: str
) -> None:
    for revision in range(3):
        save(bob, case, revision, **NOTE)
    assert len(entries(world, AuditAction.DRAFT_SAVED)) == 1
    bob.post(f"/review/{case}/draft/discard")
    assert len(entries(world, AuditAction.DRAFT_DISCARDED)) == 1
    save(bob, case, 0, **NOTE)
    assert len(entries(world, AuditAction.DRAFT_SAVED)) == 2


def test_a_new_session_gets_the_draft_too(
    bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    save(bob, case, 0, **NOTE)
    assert "Half a sentence about" in signed_in("bob").get(f"/review/{case}").text


def test_the_older_of_two_tabs_is_told_and_overwrites_nothing(
    world: World, bob: BrowserSession, case: str
) -> None:
    save(bob, case, 0, clinical_note="newer")
    older = save(bob, case, 0, clinical_note="older")

    assert older.status_code == 409
    assert "another tab" in older.json["error"]
    assert "newer" in bob.get(f"/review/{case}").text
    for action in ("", "sign"):
        form = {**DECISION, "draft_revision": "0", "action": action, "clinical_note": "older"}
        answer = bob.post(f"/review/{case}/sign", form)
        assert answer.status_code == 409
        assert "another tab" in answer.text
        assert "older" in answer.text  # nothing typed is lost
    assert count(world, SignedReport) == 0


def test_a_colleague_who_takes_the_case_over_sees_nothing_of_the_draft(
    bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    save(bob, case, 0, **NOTE)
    bob.post(f"/review/{case}/release", {"reason": "end_of_shift"})
    dan = signed_in("dan")
    dan.post(f"/review/{case}/claim")

    assert "Half a sentence" not in dan.get(f"/review/{case}").text
    dan.post(f"/review/{case}/first-read", FIRST_READ)
    page = dan.get(f"/review/{case}").text
    assert "Half a sentence" not in page
    assert 'name="draft_revision" value="0"' in page
    assert save(dan, case, 0, clinical_note="mine").json["revision"] == 1


def test_before_the_first_read_and_after_the_claim_ran_out_no_draft_is_kept(
    world: World, bob: BrowserSession, case: str
) -> None:
    unread = world.claimed(world.carol, world.bob)
    assert save(bob, unread, 0, **NOTE).status_code == 403
    with world.sessions() as session:
        change_row(world, case, claim_until=database_now(session) - timedelta(seconds=1))
    assert save(bob, case, 0, **NOTE).status_code == 403
    assert count(world, CaseDraft) == 0


def test_without_a_script_the_draft_is_saved_by_its_button_and_thrown_away(
    world: World, bob: BrowserSession, case: str
) -> None:
    answer = bob.post(f"/review/{case}/draft", {"written_as": "decision", **NOTE})
    assert answer.location == f"/review/{case}"
    assert "Half a sentence" in bob.get(f"/review/{case}").text

    bob.post(f"/review/{case}/draft/discard")
    assert "Half a sentence" not in bob.get(f"/review/{case}").text
    assert count(world, CaseDraft) == 0


def test_texts_that_are_too_long_are_refused_with_words(bob: BrowserSession, case: str) -> None:
    answer = save(bob, case, 0, patient_text="x" * 40_000)
    assert answer.status_code == 413
    assert "too long" in answer.json["error"]


def test_a_signature_that_needs_another_proof_loses_nothing(
    world: World, bob: BrowserSession, case: str
) -> None:
    bob.post(f"/review/{case}/sign", DECISION)
    with world.sessions() as session, session.begin():
        for login in session.query(LoginSession):
            login.stepped_up_at = None

    answer = bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign", "draft_revision": "1"})

    assert answer.location.startswith("/step-up")
    assert f"next=/review/{case}/sign" in answer.location.replace("%2F", "/")
    assert count(world, SignedReport) == 0
    preview = bob.get(f"/review/{case}/sign")
    assert "Sign and send to the patient" in preview.text
    assert DECISION["patient_text"] in preview.text


def test_the_signature_takes_the_draft_away_and_leaves_the_patient_a_notice(
    world: World, bob: BrowserSession, case: str
) -> None:
    save(bob, case, 0, **NOTE)
    bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign"})

    assert count(world, SignedReport) == 1
    assert count(world, CaseDraft) == 0
    with world.sessions() as session:
        told = session.scalars(select(Notice)).all()
    assert [(one.kind, one.account_id) for one in told] == [("news", world.alice.account_id)]


@pytest.mark.parametrize(
    ("plan", "lead"), [("retake", "?open=retake#retake"), ("second_opinion", "/second-opinion")]
)
def test_what_decides_nothing_yet_leads_on_and_keeps_the_draft(
    world: World, bob: BrowserSession, case: str, plan: str, lead: str
) -> None:
    answer = bob.post(f"/review/{case}/sign", {"plan": plan, **NOTE})

    assert answer.location.endswith(lead)
    assert "Half a sentence" in bob.get(f"/review/{case}").text
    assert count(world, SignedReport) == 0
