"""One case at the desk, from the blind first read to the signature."""

import html
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records import (
    first_reads,
    review,
    review_queue,
    screening_queue,
    sealed_objects,
    submissions,
)
from clinic.records.db import database_now
from clinic.records.models import SignedReport, Submission
from clinic.submission import CaseState
from ml.labels import CLINICAL_NAMES
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import (
    DECISION,
    FIRST_READ,
    ask_for_pictures,
    both_databases,
    change_row,
    count,
    entries,
    object_of,
    row_of,
    table_bytes,
    words,
)
from tests.world import World
from web.portal import computer_view
from worker.screen_submission import screen

SignedIn = Callable[[str], BrowserSession]
ACTIONS = ("first-read", "sign", "retake", "release")
COMPUTER = ("Computer's view", "fake-1", "0.820", "about 82 in 100", "ffffffffffff", "The AI gives")


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


def test_answers_that_are_lost_are_said_to_be_so_and_the_rest_is_shown(
    world: World, bob: BrowserSession
) -> None:
    case = world.claimed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        (history,) = sealed_objects.of_submission(session, case, [ObjectKind.HISTORY])
        history.body = (history.body or b"")[:-1]

    answer = bob.get(f"/review/{case}")

    page = words(answer.text)
    assert answer.status_code == 200
    assert "The patient's answers are lost" in html.unescape(page)
    assert "7-point score" not in page
    assert "None years" not in page
    assert "data-grant" in answer.text


def sign(browser: BrowserSession, case: str, **changed: str) -> Any:
    return browser.post(f"/review/{case}/sign", {**DECISION, "action": "sign", **changed})


def test_without_a_claim_nothing_personal_is_seen(world: World, signed_in: SignedIn) -> None:
    case = world.screened(world.alice)

    answer = signed_in("dan").get(f"/review/{case}")

    page = words(answer.text)
    assert answer.status_code == 200
    assert "Take this case" in page
    for personal in ("Alice", "52 years", "DQ-", "below the shoulder blade", "7-point score"):
        assert personal not in page
    assert "data-grant" not in answer.text
    assert entries(world, AuditAction.KEYS_RELEASED)[-1].actor != world.dan.account_id


def test_another_readers_case_can_be_looked_at_from_outside_only(
    world: World, signed_in: SignedIn
) -> None:
    case, dan = world.first_read(world.alice, world.bob), signed_in("dan")

    page = words(dan.get(f"/review/{case}").text)

    assert "Reader Bob has this case" in page
    assert "Alice" not in page
    assert not [one for one in COMPUTER if one in page]
    for action in ACTIONS:
        assert dan.post(f"/review/{case}/{action}", DECISION).status_code == 403


def test_the_holder_sees_who_the_patient_is_and_what_they_told(
    world: World, bob: BrowserSession
) -> None:
    case = world.claimed(world.alice, world.bob)

    page = words(bob.get(f"/review/{case}").text)

    for shown in ("52 years", "female", "below the shoulder blade", "7-point score", "DQ-"):
        assert shown in page
    (read,) = entries(world, AuditAction.CASE_READ)
    assert (read.actor, read.submission_id, read.detail) == (world.bob.account_id, case, "blind")


def pictures(browser: BrowserSession, case: str) -> dict[str, str]:
    """Kind and address of what the keeper releases for this browser."""
    asked = ask_for_pictures(browser.client, browser.csrf_token(), case)
    found = browser.get(asked.json["url"]).json["objects"]
    return {one["type"]: one["url"] for one in found}


def test_before_the_first_read_neither_page_nor_grant_nor_object_shows_the_computers_view(
    world: World, bob: BrowserSession
) -> None:
    world.analyst = FakeAnalyst(top="mel")
    case = world.claimed(world.alice, world.bob)
    heatmap = object_of(world, case, ObjectKind.HEATMAP)

    page = bob.get(f"/review/{case}").text
    assert not [one for one in COMPUTER if one in page]
    assert heatmap not in page
    assert pictures(bob, case).keys() == {"rendition"}
    assert bob.get(f"/objects/{heatmap}").status_code == 403

    bob.post(f"/review/{case}/first-read", FIRST_READ)
    page = bob.get(f"/review/{case}").text
    assert not [one for one in COMPUTER if one not in page]
    assert CLINICAL_NAMES["mel"] in page
    assert "Benign and malignant differ: look again." in page
    found = pictures(bob, case)
    assert found.keys() == {"rendition", "heatmap"}
    assert bob.get(found["heatmap"]).status_code == 200


def test_an_invalid_first_read_reveals_nothing(world: World, bob: BrowserSession) -> None:
    case = world.claimed(world.alice, world.bob)

    answers = [
        bob.post(f"/review/{case}/first-read", form)
        for form in ({}, {"impression": "nv"}, {"impression": "x", "confidence": "high"})
    ]

    for answer in answers:
        assert answer.status_code == 422
        assert not [one for one in COMPUTER if one in answer.text]
    assert pictures(bob, case).keys() == {"rendition"}


def test_the_first_read_cannot_be_changed_after_the_reveal(
    world: World, bob: BrowserSession
) -> None:
    case = world.first_read(world.alice, world.bob)

    bob.post(f"/review/{case}/first-read", {**FIRST_READ, "impression": "mel"})

    with world.sessions() as session:
        kept = first_reads.find(session, case)
    assert kept is not None
    assert (kept.impression, kept.confidence) == ("nv", "medium")


def test_the_next_holder_reads_blind_again(world: World, signed_in: SignedIn) -> None:
    case = world.first_read(world.alice, world.bob)
    signed_in("bob").post(f"/review/{case}/release", {"reason": "end_of_shift"})
    dan = signed_in("dan")
    dan.post(f"/review/{case}/claim")

    page = dan.get(f"/review/{case}").text

    assert not [one for one in COMPUTER if one in page]
    assert "Your first read" in page
    assert sign(dan, case).status_code == 403


def test_signing_before_the_first_read_is_refused(world: World, bob: BrowserSession) -> None:
    case = world.claimed(world.alice, world.bob)

    assert sign(bob, case).status_code == 403
    assert count(world, SignedReport) == 0


@both_databases
def test_preview_then_signature(world: World, signed_in: SignedIn) -> None:
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")
    preview = bob.post(f"/review/{case}/sign", DECISION)
    assert preview.status_code == 200
    assert "Reading grade of your text" in preview.text
    assert count(world, SignedReport) == 0
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', preview.text))
    assert hidden["diagnosis"] == "nv"

    answer = bob.post(f"/review/{case}/sign", {**hidden, "action": "sign"})

    assert answer.location == f"/review/{case}"
    assert row_of(world, case).case_state == CaseState.SIGNED
    with world.sessions() as session:
        report = submissions.signed_report(session, case)
    assert report is not None
    assert (report.diagnosis, report.icd10cm, report.plan) == ("nv", "D22.5", "benign_advice")
    assert (report.signer_id, report.version) == (world.bob.account_id, 1)
    page = words(bob.get(f"/review/{case}").text)
    assert "D22.5" in page
    assert DECISION["patient_text"] in page
    (signed,) = entries(world, AuditAction.CASE_SIGNED)
    assert (signed.actor, signed.submission_id) == (world.bob.account_id, case)


def test_going_back_from_the_preview_keeps_what_was_typed(
    world: World, bob: BrowserSession
) -> None:
    case = world.first_read(world.alice, world.bob)
    form = {**DECISION, "clinical_note": "Typed with care.", "action": "change"}

    answer = bob.post(f"/review/{case}/sign", form)

    assert "Typed with care." in answer.text
    assert 'value="D22.5"' in answer.text
    assert count(world, SignedReport) == 0


def test_a_signed_case_cannot_be_signed_again_or_changed(world: World, bob: BrowserSession) -> None:
    case = world.first_read(world.alice, world.bob)
    sign(bob, case)

    assert sign(bob, case, diagnosis="mel").status_code == 403
    assert bob.post(f"/review/{case}/release", {"reason": "mistake"}).status_code == 409
    assert bob.post(f"/review/{case}/retake", {"reasons": ["blur"]}).status_code == 409
    assert bob.post(f"/review/{case}/claim").status_code == 409
    assert count(world, SignedReport) == 1
    with world.sessions() as session:
        assert submissions.signed_report(session, case).diagnosis == "nv"


@both_databases
def test_two_tabs_sign_one_case_once(world: World, signed_in: SignedIn) -> None:
    case = world.first_read(world.alice, world.bob)
    tabs = [signed_in("bob") for _ in range(4)]
    tokens = [tab.csrf_token() for tab in tabs]

    def press(tab: BrowserSession, token: str) -> int:
        form = {**DECISION, "action": "sign", "csrf_token": token}
        return tab.client.post(f"/review/{case}/sign", data=form).status_code

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(press, tabs, tokens))

    assert codes[0] == 302
    assert set(codes[1:]) <= {403, 409}
    assert count(world, SignedReport) == 1
    assert len(entries(world, AuditAction.CASE_SIGNED)) == 1


def test_a_reader_whose_claim_ran_out_signs_nothing(world: World, bob: BrowserSession) -> None:
    case = world.first_read(world.alice, world.bob)
    with world.sessions() as session:
        change_row(world, case, claim_until=database_now(session) - timedelta(seconds=1))

    assert sign(bob, case).status_code == 403
    assert bob.post(f"/review/{case}/retake", {"reasons": ["blur"]}).status_code == 403
    assert count(world, SignedReport) == 0


def test_a_case_lost_between_the_check_and_the_signature_is_not_signed(
    world: World, bob: BrowserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = world.first_read(world.alice, world.bob)

    def lost(*_: object, **__: object) -> None:
        raise review.NotOwnerError

    monkeypatch.setattr("web.portal.review_case.review.sign", lost)
    answer = sign(bob, case)

    assert answer.status_code == 409
    assert "You do not hold this case any more. Nothing was signed." in answer.text
    with world.sessions() as session:
        kinds = [ObjectKind.FINDING, ObjectKind.LETTER]
        rows = [one for one in review_objects(session, case) if one.kind in kinds]
    assert rows == []


def review_objects(session: Any, case: str) -> list[Any]:
    return sealed_objects.of_submission(session, case, list(ObjectKind))


WRONG = [
    ({"icd10_code": "22.5"}, "Enter a code such as D22.5 or C43.59."),
    ({"icd10_code": "D22.5; DROP"}, "Enter a code such as D22.5 or C43.59."),
    ({"icd10_code": ""}, "Enter the code of the diagnosis."),
    ({"patient_text": "x" * 4001}, "Use 4000 characters or fewer."),
    ({"patient_text": ""}, "Write what the patient should read."),
    ({"clinical_note": "x" * 2001}, "Use 2000 characters or fewer."),
    ({"diagnosis": "other"}, "Write the diagnosis in words."),
    ({"agreement": "override"}, "Choose why you override the computer&#39;s view."),
    ({"override_reason": "history"}, "A reason belongs to an override only."),
    ({"plan": "wait"}, "Not a valid choice."),
    ({"diagnosis": ""}, "Choose a diagnosis."),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_a_decision_with_a_mistake_comes_back_with_words(
    world: World, bob: BrowserSession, changed: dict[str, str], said: str
) -> None:
    case = world.first_read(world.alice, world.bob)

    answer = sign(bob, case, **changed)

    assert answer.status_code == 422
    assert said in answer.text
    assert count(world, SignedReport) == 0


def test_an_override_is_stored_with_its_reason(world: World, bob: BrowserSession) -> None:
    case = world.first_read(world.alice, world.bob)

    changed = {"diagnosis": "mel", "icd10_code": "C43.59", "plan": "biopsy"}
    sign(bob, case, agreement="override", override_reason="dermoscopy", **changed)

    with world.sessions() as session:
        report = submissions.signed_report(session, case)
    assert report is not None
    assert (report.agreement, report.override_reason) == ("override", "dermoscopy")


def test_the_letter_reaches_the_patient_only_with_the_signature(
    world: World, bob: BrowserSession, signed_in: SignedIn
) -> None:
    case, alice = world.first_read(world.alice, world.bob), signed_in("alice")
    text = "A sentence for Alice alone."

    bob.post(f"/review/{case}/sign", {**DECISION, "patient_text": text})
    assert text not in alice.get(f"/cases/{case}").text
    sign(bob, case, patient_text=text)

    assert text in alice.get(f"/cases/{case}").text
    assert signed_in("carol").get(f"/cases/{case}").status_code == 403


def without_ai(world: World) -> str:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(
            session, hint=case, lease=timedelta(seconds=30), limit=1
        )
        assert held is not None
        assert screening_queue.give_up(session, held, reason="the model files are damaged")
        assert review_queue.claim(session, case, reader_id=world.bob.account_id)
    return case


@both_databases
def test_a_case_that_the_computer_gave_up_on_is_read_from_the_originals_and_signed(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = without_ai(world), signed_in("bob")
    page = words(bob.get(f"/review/{case}").text)
    assert "AI unavailable: the model files are damaged" in page
    assert "AI unavailable" in words(bob.get("/review").text)
    assert pictures(bob, case).keys() == {"photo"}

    bob.post(f"/review/{case}/first-read", FIRST_READ)
    page = words(bob.get(f"/review/{case}").text)
    assert "Your decision" in page
    assert "There was no computer" in page
    assert "I agree with the computer" not in page
    assert sign(bob, case, agreement="not_available").location == f"/review/{case}"

    assert row_of(world, case).case_state == CaseState.SIGNED
    signed = words(bob.get(f"/review/{case}").text)
    assert "No computer" in signed
    assert "No computer took part" in words(signed_in("alice").get(f"/cases/{case}").text)


def test_the_decision_offers_what_can_be_said_of_the_computers_view(
    world: World, bob: BrowserSession
) -> None:
    case = world.first_read(world.alice, world.bob)
    page = words(bob.get(f"/review/{case}").text)
    assert "I agree with the computer" in page
    assert "I override the computer" in page
    assert "There was no computer" not in page


def test_a_case_whose_patient_refused_the_computer_says_so(
    world: World, bob: BrowserSession
) -> None:
    case = world.submit(world.alice, ai=False)
    screen(world.screening(), case)
    bob.post(f"/review/{case}/claim")

    page = words(bob.get(f"/review/{case}").text)

    assert "The patient refused help by a computer." in page
    assert world.analyst.seen == []
    bob.post(f"/review/{case}/first-read", FIRST_READ)
    assert sign(bob, case, agreement="not_available").location == f"/review/{case}"


def test_with_the_key_service_down_the_desk_is_closed_and_says_when_to_come_again(
    world: World, bob: BrowserSession
) -> None:
    case = world.claimed(world.alice, world.bob)
    world.hints.down = True

    answer = bob.get(f"/review/{case}")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "20")
    assert "52 years" not in answer.text
    assert bob.get("/review").status_code == 200


def test_a_retake_needs_a_reason_and_frees_the_case(world: World, bob: BrowserSession) -> None:
    case = world.claimed(world.alice, world.bob)
    wrong = bob.post(f"/review/{case}/retake", {"message": "Please."})
    assert wrong.status_code == 422
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW

    bob.post(f"/review/{case}/retake", {"reasons": ["glare", "other"], "message": "No flash."})

    row = row_of(world, case)
    assert (row.case_state, row.claim_until) == (CaseState.UNREADABLE, None)
    assert row.claimed_by == world.bob.account_id  # who answers the patient meanwhile
    assert "You have this case" not in words(bob.get(f"/review/{case}").text)
    assert row.retake_reason == "There is a bright flash spot. Take it without flash."
    (entry,) = entries(world, AuditAction.RETAKE_REQUESTED)
    assert entry.detail == "glare, other"


@both_databases
def test_what_the_reader_writes_to_the_patient_about_new_photos_is_sealed(
    world: World, bob: BrowserSession, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)

    bob.post(f"/review/{case}/retake", {"reasons": ["other"], "message": "Lift the brown plaster."})

    page = words(signed_in("alice").get(f"/cases/{case}").text)
    assert "Please take the photo again." in page
    assert "Lift the brown plaster." in page
    assert b"brown plaster" not in table_bytes(world)
    with world.sessions() as session, session.begin():
        submissions.replace_photos(session, session.get_one(Submission, case))
    assert "plaster" not in signed_in("alice").get(f"/cases/{case}").text


def test_a_second_request_for_photos_shows_its_own_words_alone(
    world: World, bob: BrowserSession, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    bob.post(f"/review/{case}/retake", {"reasons": ["other"], "message": "The first words."})
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        submissions.replace_photos(session, row)
        row.case_state = CaseState.AWAITING_REVIEW
    bob.post(f"/review/{case}/claim")
    bob.post(f"/review/{case}/retake", {"reasons": ["other"], "message": "The second words."})

    page = signed_in("alice").get(f"/cases/{case}").text
    assert "The second words." in page
    assert "The first words." not in page


def test_the_prediction_set_is_told_in_words_and_nothing_where_none_was_made() -> None:
    words = computer_view._set_words({"0.90": ["mel", "nv"], "0.95": ["mel", "nv", "bkl"]})
    assert words == "In 90 of 100 cases the true class is among: Melanoma, Melanocytic nevus."
    assert computer_view._set_words({}) == ""
