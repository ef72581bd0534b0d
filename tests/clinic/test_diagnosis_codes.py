"""The coded list: what is in it, how it is searched, and which code fits which diagnosis."""

import pytest

from clinic.diagnosis_codes import (
    MOST_FOUND,
    code_problem,
    diagnosis_codes,
    normal_code,
    search_codes,
    suggested_codes,
)
from clinic.terminology import LESION_CLASSES
from web.portal.desk_forms import ICD10CM_SHAPE


def found(text: str) -> list[str]:
    return [one.code for one in search_codes(text)]


def test_the_list_holds_every_code_that_a_report_may_send_and_each_has_a_title() -> None:
    codes = diagnosis_codes()
    sent = {
        target.icd10.code: target.icd10.display
        for c in LESION_CLASSES.values()
        for target in c.targets
    }

    assert len(codes) > 800
    assert sent.keys() <= codes.keys()
    assert {code: codes[code].title for code in sent} == sent
    assert all(one.title.strip() and ICD10CM_SHAPE.match(one.code) for one in codes.values())


@pytest.mark.parametrize(
    ("typed", "code"),
    [("d22.5", "D22.5"), (" c43 59", "C43.59"), ("L40", "L40"), ("C441121", "C44.1121")],
)
def test_a_code_has_one_spelling(typed: str, code: str) -> None:
    assert normal_code(typed) == code


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("D22.5", "D22.5"),
        ("mole back", "D22.5"),
        ("mole bac", "D22.5"),
        ("Naevus trunk", "D22.5"),
        ("bcc nose", "C44.311"),
        ("psoriasis vul", "L40.0"),
        ("seborrhoeic keratosis", "L82.0"),
    ],
)
def test_a_diagnosis_is_found_by_its_code_its_title_or_an_everyday_word(
    text: str, first: str
) -> None:
    assert found(text)[0] == first


def test_a_search_gives_a_few_codes_and_none_for_nothing() -> None:
    assert len(found("l")) == MOST_FOUND
    assert found("") == found("   ") == found("xylophone") == found("'; DROP") == []


def test_each_group_but_other_has_codes_of_its_own() -> None:
    assert all(suggested_codes(group) for group in LESION_CLASSES)
    assert suggested_codes("other") == []
    assert {one.lesion_class for one in suggested_codes("mel")} == {"mel"}
    assert {one.code[:3] for one in suggested_codes("mel")} == {"C43", "D03"}


@pytest.mark.parametrize(
    ("code", "diagnosis", "problem"),
    [
        ("D22.5", "nv", None),
        ("L40.0", "other", None),
        ("D48.5", "mel", None),  # of no group: uncertain behaviour may stand beside any
        ("D22.99", "nv", "not in the list"),
        ("C43.59", "nv", "is a code of: Melanoma"),
        ("C43.59", "other", "is a code of: Melanoma"),
        ("C44.311", "akiec", "is a code of: Basal cell carcinoma"),
    ],
)
def test_a_code_fits_its_diagnosis_or_the_words_say_why_not(
    code: str, diagnosis: str, problem: str | None
) -> None:
    said = code_problem(code, diagnosis=diagnosis)
    assert said is None if problem is None else problem in (said or "")
