import pytest

from clinic.reading_grade import LIMIT, reading_grade, syllables


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("spot", 1),
        ("doctor", 2),
        ("computer", 3),
        ("melanoma", 4),
        ("make", 1),
        ("little", 2),
        ("changed", 1),
        ("needed", 2),
        ("changes", 2),
        ("times", 1),
        ("don't", 1),
        ("the", 1),
        ("I", 1),
    ],
)
def test_syllables_are_counted_by_rule(word: str, count: int) -> None:
    assert syllables(word) == count


def test_the_formula_is_the_published_one() -> None:
    # 6 words, 1 sentence, 6 syllables.
    assert reading_grade("The cat sat on the mat.") == pytest.approx(0.39 * 6 + 11.8 - 15.59)


def test_a_letter_to_a_patient_is_easy_and_a_finding_is_not() -> None:
    letter = "The doctor thinks this is harmless. Take a photo each month. Tell us if it grows."
    finding = (
        "Dermatoscopic examination demonstrates an asymmetrical pigmented lesion with atypical "
        "network, necessitating histopathological confirmation."
    )

    assert reading_grade(letter) < LIMIT
    assert reading_grade(finding) > 12


def test_lines_end_sentences_too() -> None:
    assert reading_grade("Go to the window\nTap the spot") == reading_grade(
        "Go to the window. Tap the spot."
    )


def test_a_text_without_words_has_grade_zero() -> None:
    assert reading_grade("  123 - !") == 0.0
