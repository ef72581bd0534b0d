"""Formulas against values computed by hand and against another implementation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from clinic.reading_statistics import Kappa, Share, identical, kappa, linear, quantile

ratings = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


def pairs_of(table: list[list[int]]) -> list[tuple[int, int]]:
    """Paired ratings from a table of counts [one reader, the other]."""
    return [
        (i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)
    ]


def test_kappa_of_two_readers_is_what_the_hand_computes():
    """Observed agreement 0.7, by chance 0.5; variance 0.2016 / (50 * 0.25) = 0.016128."""
    found = kappa(pairs_of([[20, 5], [10, 15]]), (0, 1))

    half = 1.959963984540054 * math.sqrt(0.016128)
    assert found.n == 50
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))
    assert (found.low, found.high) == pytest.approx((0.1511, 0.6489), abs=5e-5)


def test_weighted_kappa_of_urgencies_is_what_the_hand_computes():
    """Weights 1, 0.5 and 0 by distance; the margins are .4 .3 .3 and .4 .4 .2.

    By chance .16 + .12 + .06 on the diagonal and half of .16 + .12 + .06 + .12 for neighbours:
    .34 + .23 = .57. Observed are .9 on the diagonal and half of the one neighbour: .95.
    """
    table = [[4, 0, 0], [0, 3, 0], [0, 1, 2]]

    plain, weighted = kappa(pairs_of(table), (0, 1, 2)), kappa(pairs_of(table), (0, 1, 2), linear)

    assert plain.value == pytest.approx((0.9 - 0.34) / (1 - 0.34))
    assert weighted.value == pytest.approx((0.95 - 0.57) / (1 - 0.57))
    assert weighted.value > plain.value, "the one difference is between neighbours"


@pytest.mark.parametrize("weight", [identical, linear])
def test_the_standard_error_is_that_of_the_delta_method(weight):
    """Its variance: that of the gradient of kappa over the cells, here by finite differences."""
    table = np.array([[20.0, 6.0, 1.0], [4.0, 18.0, 5.0], [2.0, 7.0, 11.0]])
    n = table.sum()
    shares = table / n
    weights = np.array([[weight(i, j, 3) for j in range(3)] for i in range(3)])

    def kappa_of(cells):
        chance = (np.outer(cells.sum(axis=1), cells.sum(axis=0)) * weights).sum()
        return ((cells * weights).sum() - chance) / (1.0 - chance)

    gradient = np.zeros((3, 3))
    for cell in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[cell] = 1e-6
        gradient[cell] = (kappa_of(shares + step) - kappa_of(shares - step)) / 2e-6
    variance = ((shares * gradient**2).sum() - (shares * gradient).sum() ** 2) / n

    found = kappa(pairs_of(table.astype(int).tolist()), range(3), weight)

    assert found.value == pytest.approx(kappa_of(shares))
    assert found.high - found.low == pytest.approx(2 * 1.959964 * math.sqrt(variance), rel=1e-5)


@given(ratings)
def test_kappa_is_that_of_scikit_learn(pairs):
    one, other = zip(*pairs, strict=True)
    labels = list("abc")
    for weight, name in ((None, None), (linear, "linear")):
        found = kappa(pairs, labels, weight) if weight else kappa(pairs, labels)
        if found.value is None:
            assert len({*one, *other}) == 1
            continue
        assert found.value == pytest.approx(
            cohen_kappa_score(one, other, labels=labels, weights=name)
        )
        assert -1.0 <= found.low <= found.value <= found.high <= 1.0


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Readers that agree in 70 of 100 and else guess: kappa is 0.7."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(400):
        one = rng.integers(0, 4, 150)
        other = np.where(rng.random(150) < 0.7, one, rng.integers(0, 4, 150))
        found = kappa(list(zip(one.tolist(), other.tolist(), strict=True)), range(4))
        held += found.low <= 0.7 <= found.high
    assert 0.92 <= held / 400 <= 0.98


@pytest.mark.parametrize("pairs", [[], [("a", "a")] * 5])
def test_kappa_has_no_value_without_pairs_or_where_all_said_one_thing(pairs):
    assert kappa(pairs, ("a", "b")) == Kappa(None, None, None, len(pairs))


def test_perfect_agreement_is_one_and_has_no_width():
    assert kappa([("a", "a"), ("b", "b")], ("a", "b")) == Kappa(1.0, 1.0, 1.0, 2)


def test_a_rating_outside_the_categories_is_refused():
    with pytest.raises(ValueError, match="not in"):
        kappa([("a", "x")], ("a", "b"))


def test_wilson_s_interval_is_the_published_one():
    """81 of 263 and 15 of 148: Newcombe 1998, Statistics in Medicine 17:857, table I."""
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(15, 148).interval == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Share(1, 29).interval == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_a_share_of_nothing_has_no_value():
    assert (Share(0, 0).value, Share(0, 0).interval) == (None, None)
    assert Share(3, 4).value == 0.75


def test_quantiles_are_values_that_occurred():
    hours = [float(hour) for hour in range(20, 0, -1)]
    assert quantile(hours, 0.5) == 10.0
    assert quantile(hours, 0.95) == 19.0
    assert quantile([7.0], 0.95) == 7.0
    assert quantile([], 0.5) is None
