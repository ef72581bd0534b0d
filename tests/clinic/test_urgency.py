"""Urgencies as numbers in rows."""

from itertools import pairwise

import pytest

from clinic.urgency import ORDER, place_of, urgency_at
from ml.triage import Urgency


@pytest.mark.parametrize("urgency", Urgency)
def test_a_place_and_its_urgency_are_one_to_one(urgency: Urgency) -> None:
    assert urgency_at(place_of(urgency)) is urgency


def test_the_smaller_number_is_the_more_urgent() -> None:
    assert set(ORDER) == set(Urgency)
    for sooner, later in pairwise(ORDER):
        assert sooner.rank > later.rank
        assert place_of(sooner) < place_of(later)
    assert place_of(Urgency.URGENT) == 0
