"""Filling in the letters to patient and GP."""

import html
from collections.abc import Callable
from typing import Any

import pytest

from clinic.audit_event import AuditAction
from clinic.records import submissions
from clinic.records.models import Patient
from tests.browser_session import BrowserSession
from tests.portal_tools import DECISION, JSON, entries
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
CHOSEN = {**DECISION, "patient_text": "", "plan": "biopsy", "clinical_note": "Blue veil."}


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.first_read(world.alice, world.bob)


def fill(browser: BrowserSession, case: str, **typed: str) -> Any:
    form = {**CHOSEN, **typed, "csrf_token": browser.csrf_token()}
    return browser.client.post(f"/review/{case}/letters", data=form, headers=JSON).json


def test_both_letters_follow_from_diagnosis_and_plan(
    world: World, bob: BrowserSession, case: str
) -> None:
    said = fill(bob, case, follow_up_on="2027-03-05")

    texts = said["texts"]
    assert texts["patient_text"].startswith("Dear Alice Alice-Family,\n\nWe want to test the spot")
    assert "5 March 2027" in texts["patient_text"]
    assert "Melanocytic nevus (ICD-10-CM D22.5), confidence high" in texts["gp_text"]
    assert "Blue veil." in texts["gp_text"]
    assert "REG-bob" in texts["gp_text"]
    assert "Blue veil." not in texts["patient_text"]
    assert texts["letter_template"] == "en/patient-biopsy 1"
    assert said["notes"] == []
    assert len(entries(world, AuditAction.LETTER_DRAFTED)) == 1


def test_a_text_that_was_edited_stays_and_one_that_was_not_is_filled_in_anew(
    bob: BrowserSession, case: str
) -> None:
    first = fill(bob, case)["texts"]

    again = fill(bob, case, **{**first, "plan": "gp_plan", "gp_text": first["gp_text"] + " Mine."})

    assert "Your GP can treat it." in again["texts"]["patient_text"]
    assert "gp_text" not in again["texts"]
    assert "What you wrote was kept." in again["notes"][0]


@pytest.mark.parametrize("lacking", [{"plan": ""}, {"diagnosis": ""}, {"plan": "retake"}])
def test_without_a_diagnosis_and_a_plan_nothing_is_filled_in(
    bob: BrowserSession, case: str, lacking: dict[str, str]
) -> None:
    said = fill(bob, case, **lacking)
    assert said["texts"] == {}
    assert "Choose the diagnosis and the management first" in said["notes"][0]


def test_a_patient_s_language_without_texts_is_named(
    world: World, bob: BrowserSession, case: str
) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Patient, world.alice.patient_id).language = "pl"
    said = fill(bob, case)
    assert "Dear Alice" in said["texts"]["patient_text"]
    assert "Polski" in said["notes"][0]


@pytest.mark.parametrize(
    ("language", "words"),
    [("es", "Queremos analizar la mancha"), ("hi", "निशान की जाँच"), ("ar", "نريد أن نحلل البقعة")],
)
def test_the_patient_reads_in_their_language_and_the_gp_in_the_clinic_s(
    world: World,
    bob: BrowserSession,
    case: str,
    signed_in: SignedIn,
    language: str,
    words: str,
) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Patient, world.alice.patient_id).language = language
    said = fill(bob, case)
    assert words in said["texts"]["patient_text"]
    assert said["texts"]["gp_text"].startswith("Dear colleague")
    assert said["notes"] == []

    preview = bob.post(f"/review/{case}/sign", {**CHOSEN, **said["texts"]}).text
    assert "Reading grade of your text" not in preview, "the formula is for English"
    bob.post(f"/review/{case}/sign", {**CHOSEN, **said["texts"], "action": "sign"})
    page = signed_in("alice").get(f"/cases/{case}").text
    assert words in page
    assert f'<div class="dq-letter" dir="auto" lang="{language}">' in page


def test_without_a_script_the_form_comes_back_filled_in(bob: BrowserSession, case: str) -> None:
    answer = bob.post(f"/review/{case}/letters", {**CHOSEN, "patient_text": ""})

    page = html.unescape(answer.text)
    assert answer.status_code == 200
    assert "We want to test the spot on your back." in page
    assert "There is a problem" not in page
    assert 'name="letter_template" value="en/patient-biopsy 1"' in page


def test_the_signed_report_keeps_which_text_it_began_with(
    world: World, bob: BrowserSession, case: str
) -> None:
    texts = fill(bob, case)["texts"]
    bob.post(f"/review/{case}/sign", {**CHOSEN, **texts, "action": "sign"})
    with world.sessions() as session:
        report = submissions.signed_report(session, case)
    assert report is not None
    assert report.letter_template == "en/patient-biopsy 1"
    assert report.gp_letter_object_id is not None
