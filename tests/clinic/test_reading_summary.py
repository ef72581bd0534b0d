"""What the computer's view changes, on cases whose figures a hand can count."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clinic.reading_statistics import Share
from clinic.reading_summary import ReadCase, summarise, summarise_by

RECEIVED = datetime(2026, 11, 2, 9, tzinfo=UTC)


def case(first: str, computer: str | None, final: str, **change: Any) -> ReadCase:
    values: dict[str, Any] = {
        "reader_id": "bob",
        "model_version": "m1" if computer else None,
        "first": first,
        "final": final,
        "computer": computer,
        "overrode": computer is not None and final != computer,
        "urgency": 2,
        "sorted_as": 2,
        "received_at": RECEIVED,
        "due_at": RECEIVED + timedelta(hours=48),
        "signed_at": RECEIVED + timedelta(hours=10),
        "started_at": None,
    }
    return ReadCase(**values | change)


# First read, computer, final, pathology.
SEEDED = [
    *[case("nv", "nv", "nv", pathology="nv")] * 4,
    *[case("nv", "mel", "nv", pathology="nv")] * 2,
    *[case("nv", "mel", "mel", pathology="nv")] * 1,  # right to wrong
    *[case("nv", "mel", "mel", pathology="mel")] * 3,  # wrong to right
    *[case("nv", "bcc", "nv", pathology="bcc")] * 1,
    *[case("mel", "bkl", "bkl")] * 2,
    *[case("mel", "bkl", "other")] * 1,  # changed, but not to the computer's class
    *[case("mel", None, "mel")] * 2,
]


def test_shares_are_those_that_the_hand_counts():
    found = summarise(SEEDED)

    assert found.n == 16
    assert found.with_computer == 14
    # Overrides: two, one and one; with the computer's view were 14.
    assert found.overrides == Share(4, 14)
    # Ten first reads differed; one, three and two became the computer's.
    assert found.to_computer == Share(6, 10)
    # Right beside a wrong computer were 2 + 1, wrong beside a right one 3 + 1.
    assert found.to_wrong == Share(1, 3)
    assert found.to_right == Share(3, 4)


def test_agreement_is_that_of_the_pairs_in_which_the_computer_spoke():
    found = summarise(SEEDED)

    # The same are 4 of 14; by chance 11 * 4 of 196 for nevus and 3 * 6 of 196 for melanoma, so
    # kappa is (56 - 62) of (196 - 62).
    assert found.first_and_computer.n == 14
    assert found.first_and_computer.value == pytest.approx(-6 / 134)
    assert found.first_and_final.n == 16
    assert found.urgency.value is None, "everybody said routine"


def test_urgencies_agree_in_part_where_they_are_neighbours():
    cases = [
        case("nv", "nv", "nv", urgency=0, sorted_as=0),
        case("nv", "nv", "nv", urgency=1, sorted_as=0),
        case("nv", "nv", "nv", urgency=2, sorted_as=2),
        case("nv", "nv", "nv", urgency=None, sorted_as=2),
    ]
    # Observed (1 + .5 + 1) / 3; by chance (1/3)(2/3) + (1/3)(2/3)(.5) + (1/3)(1/3)(.5)
    # + (1/3)(1/3) = 1/2.
    found = summarise(cases).urgency
    assert found.n == 3
    assert found.value == pytest.approx((5 / 6 - 1 / 2) / (1 / 2))


def test_times_are_medians_and_95_of_100():
    cases = [
        case(
            "nv",
            "nv",
            "nv",
            signed_at=RECEIVED + timedelta(hours=hour),
            started_at=RECEIVED + timedelta(hours=hour, minutes=-hour),
        )
        for hour in range(1, 21)
    ]
    late = case("nv", "nv", "nv", signed_at=RECEIVED + timedelta(hours=49))

    found = summarise([*cases, late])

    assert (found.hours.median, found.hours.p95, found.hours.n) == (11.0, 20.0, 21)
    assert (found.minutes.median, found.minutes.n) == (10.0, 20)
    assert found.in_time == Share(20, 21)


def test_groups_hold_each_case_once_the_largest_first():
    cases = [
        case("nv", "nv", "nv", reader_id="dan"),
        *[case("nv", "nv", "nv", reader_id="bob")] * 3,
    ]
    found = summarise_by(cases, lambda one: one.reader_id)
    assert {name: one.n for name, one in found.items()} == {"bob": 3, "dan": 1}
    assert list(found) == ["bob", "dan"]


def test_nothing_read_gives_no_figure():
    found = summarise([])
    assert (found.n, found.overrides.value, found.hours.median) == (0, None, None)
    assert found.first_and_computer.value is None
