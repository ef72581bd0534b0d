"""Letters as templates: their heads, their fields, and that patients can read them."""

from datetime import date

import pytest

from clinic.letter import FIELDS, LetterError, parse_template
from clinic.reading_grade import LIMIT, reading_grade
from web.portal.desk_forms import LEADS_ON, MANAGEMENT
from web.portal.letters import letters_for, template

HEAD = "---\nversion: 3\nauthor: A\nreviewer: B\ndate: 2026-11-02\n---\n"
PLANS = [plan for plan, _ in MANAGEMENT if plan not in LEADS_ON]
SAID = dict.fromkeys(FIELDS, "word") | {"patient": "Ada", "place": "arm", "follow_up": "3 May 2027"}
SAID |= {"diagnosis_group": "nv", "clinic": "Harbour Clinic", "phone": "020 7946 0000"}


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


@pytest.mark.parametrize("group", ["mel", "bcc", "akiec", "nv", "bkl", "df", "vasc", "other"])
@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_has_letters_that_a_patient_can_read(plan: str, group: str) -> None:
    said = SAID | {"diagnosis_group": group, "diagnosis": "eczema"}
    written = letters_for(plan, said, language="en")

    assert reading_grade(written.patient_text) <= LIMIT
    sentences = written.patient_text.replace("\n", ". ").split(". ")
    assert max(len(sentence.split()) for sentence in sentences) <= 20
    assert "{" not in written.patient_text + written.gp_text
    assert "Dear colleague" in written.gp_text
    assert written.translated


@pytest.mark.parametrize("plan", ["urgent_clinic", "biopsy", "in_person"])
def test_no_letter_of_an_open_question_names_a_diagnosis_to_the_patient(plan: str) -> None:
    said = SAID | {"diagnosis_group": "mel", "diagnosis": "Melanoma"}
    written = letters_for(plan, said, language="en")

    assert "melanoma" not in written.patient_text.lower()
    assert "This does not mean you have cancer." in written.patient_text


@pytest.mark.parametrize("language", ["cy", "xx", "../../secrets"])
def test_a_language_without_texts_gets_the_english_one_and_is_told_apart(language: str) -> None:
    assert template(language, "patient-biopsy").language == "en"
    assert not letters_for("biopsy", SAID, language=language).translated
