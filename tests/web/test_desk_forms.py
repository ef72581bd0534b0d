"""The reader's forms: what they take, and in which words they refuse."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict

from tests.portal_tools import DECISION
from web.portal import desk_forms

TODAY = datetime.now(UTC).date()
PATHOLOGY = {
    "diagnosis": "mel",
    "icd10_code": "c43.59",
    "morphology": "8720/3",
    "specimen": "excision",
    "source": "laboratory report",
    "reported_on": TODAY.isoformat(),
}


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="x" * 32, WTF_CSRF_ENABLED=False)
    with app.test_request_context():
        yield


def errors_of(form: type, values: dict[str, Any]) -> dict[str, Any]:
    filled = form(formdata=MultiDict(values))
    filled.validate()
    return filled.errors


@pytest.mark.parametrize("typed", ["D22.5", " d22.5 ", "d225", "D 22.5"])
def test_a_code_is_tidied_as_it_is_typed(typed: str) -> None:
    form = desk_forms.DecisionForm(formdata=MultiDict(DECISION | {"icd10_code": typed}))

    assert form.validate(), form.errors
    assert form.icd10_code.data == "D22.5"


REFUSED = [
    ({"diagnosis": "other"}, "diagnosis_text"),
    ({"agreement": "override"}, "override_reason"),
    ({"override_reason": "history"}, "override_reason"),
    ({"icd10_code": ""}, "icd10_code"),
    ({"icd10_code": "melanoma"}, "icd10_code"),
    ({"icd10_code": "D22.5; DROP"}, "icd10_code"),
    ({"icd10_code": "D22.99"}, "icd10_code"),
    ({"icd10_code": "C43.59"}, "icd10_code"),
    ({"patient_text": ""}, "patient_text"),
    ({"patient_text": "x" * 4001}, "patient_text"),
    ({"gp_text": "x" * 4001}, "gp_text"),
    ({"plan": "wait"}, "plan"),
    ({"diagnosis": "mel", "icd10_code": "C43.59"}, "plan"),
    ({"follow_up_on": TODAY.isoformat()}, "follow_up_on"),
    ({"follow_up_on": (TODAY + timedelta(days=2000)).isoformat()}, "follow_up_on"),
    ({"follow_up_on": "next week"}, "follow_up_on"),
]


@pytest.mark.parametrize(("change", "field"), REFUSED)
def test_an_incomplete_or_contradictory_decision_is_refused(
    change: dict[str, str], field: str
) -> None:
    found = errors_of(desk_forms.DecisionForm, DECISION | change)
    assert field in found
    assert set(found) <= {field, "icd10_code"}


@pytest.mark.parametrize(
    "change",
    [
        {"diagnosis": "other", "diagnosis_text": "Psoriasis", "icd10_code": "L40.0"},
        {"agreement": "override", "override_reason": "dermoscopy"},
        {"agreement": "not_available"},
        {"diagnosis": "bcc", "icd10_code": "C44.311", "plan": "biopsy"},
        {"follow_up_on": (TODAY + timedelta(days=90)).isoformat()},
        {"gp_text": "Dear colleague."},
    ],
)
def test_a_complete_decision_of_another_kind_is_accepted(change: dict[str, str]) -> None:
    assert errors_of(desk_forms.DecisionForm, DECISION | change) == {}


def test_a_draft_brings_back_what_was_typed_right_or_wrong() -> None:
    typed = DECISION | {"icd10_code": "nonsense", "follow_up_on": "2031-02-03", "plan": ""}
    form = desk_forms.DecisionForm(formdata=MultiDict(typed | {"draft_revision": "7"}))

    back = desk_forms.DecisionForm.from_written(form.written())

    assert form.known_revision == 7
    assert back.icd10_code.raw_data == ["nonsense"]
    assert back.follow_up_on.data.isoformat() == "2031-02-03"
    assert back.diagnosis.data == "nv"
    assert back.patient_text.data == DECISION["patient_text"]
    assert not back.errors
    assert back.known_revision is None


@pytest.mark.parametrize("text", ["", "-1", "seven", "٣", "9" * 40])
def test_a_revision_that_is_no_number_is_none(text: str) -> None:
    form = desk_forms.DecisionForm(formdata=MultiDict({"draft_revision": text}))
    assert form.known_revision is None


def test_a_change_names_how_and_why_and_leads_nowhere_else() -> None:
    change = DECISION | {"status": "amended", "change_reason": "pathology"}
    assert errors_of(desk_forms.ChangeForm, change) == {}
    assert sorted(errors_of(desk_forms.ChangeForm, DECISION)) == ["change_reason", "status"]
    assert list(errors_of(desk_forms.ChangeForm, change | {"plan": "retake"})) == ["plan"]


def test_an_addendum_needs_a_text_for_somebody() -> None:
    assert list(errors_of(desk_forms.AddendumForm, {"patient_text": "  "})) == ["patient_text"]
    assert errors_of(desk_forms.AddendumForm, {"clinical_note": "Seen again."}) == {}


def test_a_retake_needs_a_reason() -> None:
    assert list(errors_of(desk_forms.RetakeForm, {"message": "Please try again."})) == ["reasons"]
    assert errors_of(desk_forms.RetakeForm, {"reasons": "blur"}) == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"morphology": "8720"}, "morphology"),
        ({"morphology": "1234/3"}, "morphology"),
        ({"reported_on": ""}, "reported_on"),
        ({"reported_on": (TODAY + timedelta(days=2)).isoformat()}, "reported_on"),
        ({"icd10_code": "D22.5"}, "icd10_code"),
        ({"specimen": "whole"}, "specimen"),
    ],
)
def test_a_wrong_pathology_is_refused(change: dict[str, str], field: str) -> None:
    assert errors_of(desk_forms.PathologyForm, PATHOLOGY) == {}
    assert list(errors_of(desk_forms.PathologyForm, PATHOLOGY | change)) == [field]
