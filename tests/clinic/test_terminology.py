import pytest

from clinic.terminology import (
    BODY_SITES,
    ICD10CM,
    LESION_CLASSES,
    LOINC,
    MANAGEMENT_PLANS,
    SENT_CODINGS,
    SNOMED,
    diagnosis_codings,
    is_loinc_code,
    is_snomed_concept_id,
)


def codes_of(system):
    return sorted({c.code for c in SENT_CODINGS if c.system == system})


def test_every_snomed_code_carries_its_check_digit():
    codes = codes_of(SNOMED)
    assert len(codes) > 20
    assert [c for c in codes if not is_snomed_concept_id(c)] == []


def test_every_loinc_code_carries_its_check_digit():
    codes = codes_of(LOINC)
    assert "34759-1" in codes
    assert [c for c in codes if not is_loinc_code(c)] == []


@pytest.mark.parametrize("code", ["93655004", "1237125003", "109266006", "60496002"])
def test_one_wrong_digit_in_a_snomed_code_is_found(code):
    for position in range(len(code)):
        wrong = str((int(code[position]) + 1) % 10)
        assert not is_snomed_concept_id(code[:position] + wrong + code[position + 1 :])


@pytest.mark.parametrize("code", ["", "93655", "93655004a", "0093655004", "٩٣٦٥٥٠٠٤", "1" * 19])
def test_what_has_not_the_shape_of_a_concept_id_is_refused(code):
    assert not is_snomed_concept_id(code)


@pytest.mark.parametrize("code", ["34759-2", "34759", "-1", "LP29684-4", "34759-11", "3475a-1"])
def test_a_wrong_loinc_code_is_found(code):
    assert not is_loinc_code(code)


@pytest.mark.parametrize("code", ["34759-1", "LP29684-5", "LA6576-8", "18748-4"])
def test_a_right_loinc_code_passes(code):
    assert is_loinc_code(code)


@pytest.mark.parametrize("rejected", ["372244006", "21119008", "254652000", "427186000"])
def test_codes_found_wrong_or_unconfirmed_are_never_sent(rejected):
    assert rejected not in codes_of(SNOMED)


def test_the_seven_classes_of_the_model_are_all_named():
    assert set(LESION_CLASSES) == {"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"}
    assert all(c.targets for c in LESION_CLASSES.values())


def test_every_site_of_the_history_form_has_a_code():
    asked = (
        "scalp face ear neck chest abdomen back upper_extremity lower_extremity hand palm foot "
        "sole buttock nail trunk other"
    )
    assert set(asked.split()) <= set(BODY_SITES)


def test_a_site_without_a_code_of_its_own_takes_the_region_that_holds_it():
    assert BODY_SITES["sole"].snomed == BODY_SITES["foot"].snomed
    assert BODY_SITES["nail"].snomed.display == "Skin structure"
    assert BODY_SITES["nail"].text == "nail"


def test_every_plan_has_a_code():
    assert set(MANAGEMENT_PLANS) == {
        "benign_advice",
        "gp_plan",
        "urgent_clinic",
        "biopsy",
        "in_person",
        "second_opinion",
    }


def sent(**values):
    return [(c.system, c.code) for c in diagnosis_codings(**values)]


@pytest.mark.parametrize(
    ("lesion_class", "icd10", "snomed_code"),
    [
        ("akiec", "L57.0", "201101007"),
        ("akiec", "D04.5", "254656002"),
        ("bcc", "C44.311", "254701007"),
        ("bkl", "L82.0", "394726009"),
        ("bkl", "L81.4", "72100002"),
        ("mel", "C43.59", "93655004"),
        ("mel", "D03.5", "109266006"),
        ("nv", "D22.5", "400010006"),
        ("vasc", "D18.01", "400210000"),
    ],
)
def test_the_icd_code_chooses_the_diagnosis_within_its_class(lesion_class, icd10, snomed_code):
    assert sent(lesion_class=lesion_class, icd10=icd10, snomed=True) == [
        (SNOMED, snomed_code),
        (ICD10CM, icd10),
    ]


def test_a_class_of_one_diagnosis_needs_no_icd_code():
    assert sent(lesion_class="mel", icd10=None, snomed=True) == [
        (SNOMED, "93655004"),
        (ICD10CM, "C43.9"),
    ]


@pytest.mark.parametrize("group", ["akiec", "bkl", "vasc"])
def test_a_group_is_not_turned_into_a_diagnosis_that_nobody_made(group):
    assert sent(lesion_class=group, icd10=None, snomed=True) == []


@pytest.mark.parametrize("foreign", ["C44.42", "C43.9"])
def test_an_icd_code_outside_the_class_brings_no_snomed_code(foreign):
    assert sent(lesion_class="bcc", icd10=foreign, snomed=True) == [(ICD10CM, foreign)]


def test_another_diagnosis_keeps_only_its_icd_code():
    assert sent(lesion_class=None, icd10="L40.0", snomed=True) == [(ICD10CM, "L40.0")]
    assert sent(lesion_class=None, icd10=None, snomed=True) == []


@pytest.mark.parametrize("lesion_class", ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"])
def test_the_switch_removes_snomed_and_keeps_icd(lesion_class):
    first = LESION_CLASSES[lesion_class].targets[0].icd10.code
    assert sent(lesion_class=lesion_class, icd10=first, snomed=False) == [(ICD10CM, first)]
