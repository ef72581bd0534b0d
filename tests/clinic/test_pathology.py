"""Readers and computer against pathology, with figures counted by hand."""

import pytest

from clinic.pathology import MORPHOLOGIES, MORPHOLOGY_SHAPE, ProvenCase, compare
from clinic.reading_statistics import Share


def case(pathology: str, signed: str, first: str | None, computer: str | None) -> ProvenCase:
    return ProvenCase(pathology, signed, first, computer, "fake-1")


CASES = [
    case("mel", "mel", "nv", "mel"),
    case("mel", "nv", "nv", "nv"),
    case("bcc", "mel", "bcc", None),
    case("nv", "mel", "nv", "mel"),
    case("nv", "nv", None, "nv"),
    case("other", "nv", "other", "bkl"),
]


def test_each_judge_is_counted_by_the_cases_that_they_judged() -> None:
    judges = compare(CASES).judges

    signed, first, computer = judges["Signed"], judges["First read"], judges["Computer"]
    assert (signed.right, signed.sensitivity, signed.specificity) == (
        Share(2, 6),
        Share(2, 3),  # of mel, mel, bcc two were called malignant, one of them by another name
        Share(2, 3),
    )
    assert (first.right, first.sensitivity, first.specificity) == (
        Share(3, 5),
        Share(1, 3),
        Share(2, 2),
    )
    assert (computer.right, computer.sensitivity, computer.specificity) == (
        Share(2, 5),
        Share(1, 2),
        Share(2, 3),
    )


def test_the_computer_is_told_by_group_and_a_case_without_it_does_not_count() -> None:
    by_group = compare(CASES).by_group

    assert by_group["mel"] == Share(1, 2)
    assert by_group["bcc"] == Share(0, 0)
    assert by_group["nv"] == Share(1, 2)
    assert by_group["other"] == Share(0, 1)


def test_without_cases_there_is_no_share() -> None:
    compared = compare([])
    assert compared.n == 0
    assert compared.judges["Computer"].right.value is None
    assert compared.judges["Computer"].right.interval is None


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilson_s(hits: int, n: int, low: float, high: float) -> None:
    """The examples of Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    assert Share(hits, n).interval == pytest.approx((low, high), abs=5e-5)


def test_every_morphology_that_is_offered_has_the_shape_of_one() -> None:
    assert all(MORPHOLOGY_SHAPE.fullmatch(code) for code in MORPHOLOGIES)
    assert not MORPHOLOGY_SHAPE.fullmatch("8720/4")
