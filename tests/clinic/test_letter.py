"""Letters as templates: their heads, their fields, and that patients can read them."""

import re
from dataclasses import replace
from datetime import date

import pytest

from clinic.body_site import BodySite
from clinic.letter import FIELDS, LetterError, language_of, parse_template
from clinic.reading_grade import LIMIT, reading_grade
from web.portal.desk_forms import LEADS_ON, MANAGEMENT
from web.portal.letters import FOLDER, Spoken, letters_for, template, words

HEAD = "---\nversion: 3\nauthor: A\nreviewer: B\ndate: 2026-11-02\n---\n"
PLANS = [plan for plan, _ in MANAGEMENT if plan not in LEADS_ON]
SAID = dict.fromkeys(FIELDS, "word") | {"patient": "Ada", "place": "arm", "follow_up": "3 May 2027"}
SAID |= {"clinic": "Harbour Clinic", "phone": "020 7946 0000"}
SPOKEN = Spoken(diagnosis_group="nv", body_site=BodySite.BACK, follow_up_on=date(2027, 5, 3))
GROUPS = ["mel", "bcc", "akiec", "nv", "bkl", "df", "vasc", "other"]
TRANSLATED = ["es", "hi", "ar"]
NO_CANCER = {
    "es": "Esto no quiere decir que tenga cáncer.",
    "hi": "इसका मतलब यह नहीं है कि आपको कैंसर है।",
    "ar": "هذا لا يعني أن لديك سرطانًا.",
}


def test_a_template_names_its_version_author_reviewer_and_date() -> None:
    read = parse_template(HEAD + "Dear {patient},\n", language="en", name="a")

    assert (read.version, read.author, read.reviewer) == (3, "A", "B")
    assert read.date == date(2026, 11, 2)
    assert read.label == "en/a 3"
    assert read.filled(SAID) == "Dear Ada,"


def test_a_paragraph_goes_with_its_empty_field_and_a_value_is_never_read_as_a_field() -> None:
    read = parse_template(HEAD + "One {note}.\n\nTwo {site}.\n\nThree.", language="en", name="a")

    assert read.filled(SAID | {"note": ""}) == "Two word.\n\nThree."
    assert read.filled(SAID | {"note": "{site}"}).startswith("One {site}.")


@pytest.mark.parametrize(
    "text",
    [
        "Dear {patient}",
        HEAD + "{surname}",
        HEAD.replace("version: 3", "version: three"),
        HEAD.replace("reviewer: B\n", ""),
        HEAD.replace("2026-11-02", "soon"),
    ],
)
def test_a_template_without_its_form_is_refused(text: str) -> None:
    with pytest.raises(LetterError, match="en/a"):
        parse_template(text, language="en", name="a")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_has_letters_that_a_patient_can_read(plan: str, group: str) -> None:
    spoken = replace(SPOKEN, diagnosis_group=group)
    written = letters_for(plan, SAID | {"diagnosis": "eczema"}, spoken, language="en")

    assert reading_grade(written.patient_text) <= LIMIT
    sentences = written.patient_text.replace("\n", ". ").split(". ")
    assert max(len(sentence.split()) for sentence in sentences) <= 20
    assert "{" not in written.patient_text + written.gp_text
    assert "Dear colleague" in written.gp_text
    assert written.translated


@pytest.mark.parametrize("plan", ["urgent_clinic", "biopsy", "in_person"])
def test_no_letter_of_an_open_question_names_a_diagnosis_to_the_patient(plan: str) -> None:
    spoken = replace(SPOKEN, diagnosis_group="mel")
    written = letters_for(plan, SAID | {"diagnosis": "Melanoma"}, spoken, language="en")

    assert "melanoma" not in written.patient_text.lower()
    assert "This does not mean you have cancer." in written.patient_text


@pytest.mark.parametrize("language", ["cy", "xx", "../../secrets"])
def test_a_language_without_texts_gets_the_english_one_and_is_told_apart(language: str) -> None:
    assert template(language, "patient-biopsy").language == "en"
    assert not letters_for("biopsy", SAID, SPOKEN, language=language).translated


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_has_a_letter_in_each_language_with_the_same_parts(
    plan: str, language: str
) -> None:
    written = letters_for(plan, SAID, SPOKEN, language=language)
    english = letters_for(plan, SAID, SPOKEN, language="en")

    assert written.translated
    assert written.label.startswith(f"{language}/patient-{plan} ")
    assert "{" not in written.patient_text
    assert len(written.patient_text.split("\n\n")) == len(english.patient_text.split("\n\n"))
    assert written.gp_text == english.gp_text, "the GP reads the clinic's language"
    for said in ("Ada", "2027", "Harbour Clinic", "020 7946 0000"):
        assert said in written.patient_text
    cautious = plan in {"urgent_clinic", "biopsy", "in_person"}
    assert (NO_CANCER[language] in written.patient_text) == cautious


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("plan", PLANS)
def test_a_translation_uses_the_fields_of_the_english_text_and_names_its_translator(
    plan: str, language: str
) -> None:
    path, english = (FOLDER / one / f"patient-{plan}.md" for one in (language, "en"))
    fields = re.compile(r"\{\w+\}")
    assert set(fields.findall(path.read_text())) == set(fields.findall(english.read_text()))
    assert "\ntranslator: " in path.read_text()
    assert (
        template(language, f"patient-{plan}").version == template("en", f"patient-{plan}").version
    )


@pytest.mark.parametrize("language", ["en", *TRANSLATED])
def test_each_language_names_every_site_that_can_be_sent_and_every_group(language: str) -> None:
    sites = {str(site) for site in BodySite if not site.is_intimate}
    assert set(words(language, "places")) == sites
    assert set(words(language, "diagnoses")) == set(GROUPS) - {"other"}


@pytest.mark.parametrize(
    ("language", "day", "place"),
    [
        ("en", "3 May 2027", "your back"),
        ("es", "3 de mayo de 2027", "la espalda"),
        ("hi", "3 मई 2027", "आपकी पीठ"),
        ("ar", "3 مايو 2027", "في ظهرك"),
    ],
)
def test_days_and_places_are_said_as_the_language_says_them(
    language: str, day: str, place: str
) -> None:
    text = letters_for("biopsy", SAID, SPOKEN, language=language).patient_text
    assert day in text
    assert place in text


@pytest.mark.parametrize(
    ("label", "language"), [("ar/patient-biopsy 1", "ar"), ("", None), (None, None)]
)
def test_a_letter_s_language_is_that_of_the_text_it_began_with(
    label: str | None, language: str | None
) -> None:
    assert language_of(label) == language
