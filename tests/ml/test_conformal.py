import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.conformal import LEVELS, Conformal, fit_conformal
from ml.labels import CLASSES


def drawn(count, seed):
    """Probabilities from which the labels were truly drawn."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(7, 0.4), size=count)
    labels = np.array([generator.choice(7, p=row) for row in probabilities])
    return probabilities, labels


def by_class(row):
    return dict(zip(CLASSES, row.tolist(), strict=True))


@pytest.mark.parametrize("level", LEVELS)
def test_new_photos_of_every_class_are_covered_as_promised(level):
    conformal = fit_conformal(*drawn(4000, seed=1))
    probabilities, labels = drawn(4000, seed=2)
    sets = [conformal.sets(by_class(row))[level] for row in probabilities]
    for index, name in enumerate(CLASSES):
        covered = np.mean([name in sets[photo] for photo in np.flatnonzero(labels == index)])
        assert float(level) - 0.03 <= covered <= float(level) + 0.05, name


def test_the_higher_level_holds_the_lower_one():
    conformal = fit_conformal(*drawn(500, seed=3))
    for row in drawn(50, seed=4)[0]:
        sets = conformal.sets(by_class(row))
        assert set(sets["0.90"]) <= set(sets["0.95"])


def test_a_class_with_too_few_photos_is_never_left_out():
    """Eighteen photos cannot promise 95 of 100; nineteen can."""
    probabilities = np.full((37, 7), 1.0 / 7)
    labels = np.array([0] * 18 + [1] * 19)
    thresholds = fit_conformal(probabilities, labels).thresholds["0.95"]
    assert thresholds["akiec"] == 0.0
    assert thresholds["bcc"] == pytest.approx(1.0 / 7)


@given(st.lists(st.floats(0.01, 1.0), min_size=7, max_size=7))
def test_a_set_is_never_empty_and_starts_with_the_likeliest(weights):
    nobody = Conformal({"0.90": dict.fromkeys(CLASSES, 2.0)})
    probabilities = by_class(np.array(weights) / sum(weights))
    (only,) = nobody.sets(probabilities)["0.90"]
    assert probabilities[only] == max(probabilities.values())


def test_a_level_without_all_classes_is_refused():
    with pytest.raises(ValueError, match=r"the 0\.90 sets need"):
        Conformal({"0.90": {"mel": 0.5}})
