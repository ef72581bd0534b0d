from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType

from clinic.body_site import BodySite, Side
from clinic.intake import Answer, EmergencySign, Onset, SevenPoint, Sex, SkinType, Symptom
from web.portal import forms
from web.portal.first_read_form import FirstReadForm

REGISTRATION = {
    "email": "ada@example.com",
    "password": "four words are better",
    "given_name": "Ada",
    "family_name": "Okafor",
    "birth_date-day": "27",
    "birth_date-month": "3",
    "birth_date-year": "1985",
    "consent_care": "y",
    "consent_teledermatology": "y",
    "consent_ai": "deny",
}
CASE = {
    "submission_id": "s1",
    "spot_count": "1",
    "can_be_photographed": "yes",
    "site": "back",
    "side": "left",
    "onset": "months",
    "sex": "female",
    "skin_type": "V",
    "own_skin_cancer": "no",
    "family_skin_cancer": "unknown",
    "immunosuppressed": "no",
    **{item.value: "no" for item in SevenPoint},
    **{sign.value: "no" for sign in Symptom},
}
DECISION = {
    "diagnosis": "nv",
    "icd10_code": " d22.5 ",
    "confidence": "high",
    "image_quality": "good",
    "plan": "benign_advice",
    "agreement": "agree",
    "patient_text": "The doctor thinks this is harmless.",
}


@pytest.fixture(autouse=True)
def request_context() -> Iterator[None]:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="x" * 32, WTF_CSRF_ENABLED=False)
    with app.test_request_context(method="POST"):
        yield


def fill(kind: type, values: dict[str, Any]) -> Any:
    return kind(formdata=MultiDict(values))


def errors_of(kind: type, values: dict[str, Any]) -> dict[str, list[str]]:
    form = fill(kind, values)
    form.validate()
    return dict(form.errors)


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def test_a_complete_registration_is_accepted() -> None:
    form = fill(forms.RegisterForm, REGISTRATION)

    assert form.validate(), form.errors
    assert form.birth_date.data == date(1985, 3, 27)


def test_research_and_teaching_are_off_and_the_computer_can_be_refused() -> None:
    form = fill(forms.RegisterForm, REGISTRATION)

    assert {one.purpose: one.permitted for one in form.consents} == {
        "care": True,
        "teledermatology": True,
        "ai_assistance": False,
        "research": False,
        "teaching": False,
    }


def test_a_blank_registration_has_no_consent_ticked() -> None:
    form = forms.RegisterForm(formdata=None)

    assert not any(one.permitted for one in form.consents)
    assert form.consent_ai.data is None


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"email": "ada"}, "email", "Enter an email address, such as name@example.com."),
        (
            {"email": "a@b@example.com"},
            "email",
            "Enter an email address, such as name@example.com.",
        ),
        ({"password": ""}, "password", "Choose a password."),
        ({"given_name": "   "}, "given_name", "Enter your first name."),
        ({"birth_date-day": "31", "birth_date-month": "2"}, "birth_date", "Enter a real date"),
        ({"birth_date-day": "²"}, "birth_date", "Enter a real date"),
        ({"birth_date-year": "85"}, "birth_date", "Check the year of your birth."),
        ({"birth_date-year": "9999"}, "birth_date", "Your date of birth must be in the past."),
        ({"birth_date-year": "9" * 30}, "birth_date", "Enter a real date"),
        ({"consent_ai": "perhaps"}, "consent_ai", "Not a valid choice."),
    ],
)
def test_a_wrong_registration_says_what_is_wrong(
    change: dict[str, str], field: str, message: str
) -> None:
    errors = errors_of(forms.RegisterForm, REGISTRATION | change)

    assert list(errors) == [field]
    assert errors[field][0].startswith(message)
    assert len(errors[field]) == 1


@pytest.mark.parametrize("name", ["consent_care", "consent_teledermatology"])
def test_without_the_needed_consents_there_is_no_account(name: str) -> None:
    assert list(errors_of(forms.RegisterForm, without(REGISTRATION, name))) == [name]


def test_an_empty_registration_names_each_missing_answer_once() -> None:
    errors = errors_of(forms.RegisterForm, {})

    assert errors["birth_date"] == ["Enter your date of birth."]
    assert errors["consent_ai"] == ["Choose yes or no. Your care goes on in both cases."]
    assert all(len(messages) == 1 for messages in errors.values())


def test_a_typed_date_is_kept_for_correction() -> None:
    form = fill(forms.RegisterForm, REGISTRATION | {"birth_date-day": "x"})
    form.validate()

    assert form.birth_date.parts == {"day": "x", "month": "3", "year": "1985"}


def test_a_filled_case_form_becomes_a_history() -> None:
    form = fill(
        forms.CaseForm,
        CASE | {"change_in_size": "yes", "oozing": "unknown", "notes": "itches", "spot_count": "2"},
    )

    assert form.validate(), form.errors
    history = form.history(age=41)
    assert history.age == 41
    assert history.score == 2
    assert history.unknown_answers == (SevenPoint.OOZING,)
    assert history.location.words == "back, left"
    assert history.family_skin_cancer is Answer.UNKNOWN
    assert history.spot_count == 2
    assert history.notes == "itches"
    assert history.strong_concern == ""


def test_several_emergency_signs_reach_the_history() -> None:
    values = MultiDict(CASE)
    values.setlist("emergency_signs", ["blisters", "swollen_face"])
    form = forms.CaseForm(formdata=values)

    assert form.validate(), form.errors
    assert form.history(age=41).emergency_signs == {
        EmergencySign.BLISTERS,
        EmergencySign.SWOLLEN_FACE,
    }


@pytest.mark.parametrize("item", [*SevenPoint, *Symptom], ids=str)
def test_no_question_is_answered_for_the_patient(item: SevenPoint | Symptom) -> None:
    question = forms.CaseForm(formdata=None)[item.value].label.text

    errors = errors_of(forms.CaseForm, without(CASE, item.value))

    assert list(errors) == [item.value]
    assert len(errors[item.value]) == 1
    assert errors[item.value][0].startswith("Choose an answer: ")
    assert errors[item.value][0].endswith(question[1:])


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"emergency_signs": "blisters"}, "emergency_signs"),
        ({"site": "genital"}, "intimate_area"),
    ],
)
def test_a_stop_card_does_not_wait_for_the_other_answers(values: dict[str, str], code: str) -> None:
    stop = fill(forms.CaseForm, values).stop_at_once()

    assert stop is not None
    assert stop.code == code


def test_an_ordinary_case_is_not_stopped() -> None:
    assert fill(forms.CaseForm, CASE).stop_at_once() is None


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("site", BodySite),
        ("side", Side),
        ("onset", Onset),
        ("sex", Sex),
        ("skin_type", SkinType),
        ("emergency_signs", EmergencySign),
        ("oozing", Answer),
    ],
)
def test_the_form_offers_exactly_the_values_of_the_rules(field: str, kind: type) -> None:
    offered = {choice.value for choice in forms.CaseForm()[field].choices}

    assert offered - {""} == {member.value for member in kind}


def test_a_tampered_choice_is_refused() -> None:
    errors = errors_of(forms.CaseForm, CASE | {"site": "moon", "sex": "x"})

    assert sorted(errors) == ["sex", "site"]


def test_a_text_over_the_limit_is_refused() -> None:
    errors = errors_of(forms.CaseForm, CASE | {"notes": "x" * 2001})

    assert errors == {"notes": ["Use 2000 characters or fewer."]}


@pytest.mark.parametrize(("typed", "ok"), [("123 456", True), ("12345", False), ("12345a", False)])
def test_a_code_has_six_digits_and_may_be_typed_with_a_space(typed: str, ok: bool) -> None:  # noqa: FBT001
    form = fill(forms.SecondFactorForm, {"code": typed})

    assert form.validate() is ok
    if ok:
        assert form.code.data == "123456"


def test_a_first_read_needs_impression_confidence_and_urgency() -> None:
    assert sorted(errors_of(FirstReadForm, {})) == ["confidence", "impression", "urgency"]


def test_releasing_a_case_needs_a_reason() -> None:
    assert list(errors_of(forms.ReleaseForm, {"reason": ""})) == ["reason"]


def test_json_in_place_of_a_form_is_refused() -> None:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="x" * 32, WTF_CSRF_ENABLED=False)

    for body in ({"email": 5}, [1], 5.0, "text"):
        with (
            app.test_request_context(method="POST", json=body),
            pytest.raises(UnsupportedMediaType),
        ):
            forms.SignInForm()
