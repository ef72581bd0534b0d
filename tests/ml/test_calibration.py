import numpy as np
import pytest

from ml.calibration import (
    apply_temperature,
    choose_policy,
    fit_temperature,
    mean_of_members,
    threshold_for_sensitivity,
    total_variation_spread,
)
from ml.labels import CLASSES
from ml.prediction import Prediction


@pytest.fixture
def honest():
    """Probabilities from which the labels were truly drawn."""
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(7, 0.4), size=6000)
    labels = np.array([generator.choice(7, p=row) for row in probabilities])
    return probabilities, labels


def test_the_temperature_undoes_overconfidence(honest):
    probabilities, labels = honest
    assert fit_temperature(probabilities, labels) == pytest.approx(1.0, abs=0.05)
    too_sure = apply_temperature(probabilities, 0.5)
    assert fit_temperature(too_sure, labels) == pytest.approx(2.0, rel=0.06)


def test_a_temperature_keeps_the_order_and_the_sum(honest):
    probabilities, _ = honest
    softer = apply_temperature(probabilities, 3.0)
    assert softer.sum(axis=1) == pytest.approx(1.0)
    assert (softer.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert softer.max() < probabilities.max()


@pytest.mark.parametrize("sensitivity", [0.95, 0.97, 1.0])
def test_the_threshold_finds_at_least_the_wanted_share(sensitivity):
    scores = np.random.default_rng(1).random(211)
    threshold = threshold_for_sensitivity(scores, sensitivity=sensitivity)
    assert (scores >= threshold).mean() >= sensitivity
    assert (scores > threshold).mean() < sensitivity


def test_the_policy_reaches_both_sensitivities_where_it_was_chosen(honest):
    probabilities, labels = honest
    policy = choose_policy(probabilities, np.linspace(0.0, 1.0, len(labels)), labels)
    malignant = probabilities[:, [CLASSES.index(name) for name in ("mel", "bcc", "akiec")]].sum(1)
    found = malignant >= policy.suspicious_malignant
    assert found[labels == CLASSES.index("mel")].mean() >= 0.97
    assert found[np.isin(labels, [0, 1, 4])].mean() >= 0.95
    assert policy.high_spread == pytest.approx(0.97, abs=0.001)


def test_the_spread_of_many_photos_equals_that_of_one_prediction():
    generator = np.random.default_rng(5)
    members = generator.dirichlet(np.ones(7), size=(3, 4))
    spread = total_variation_spread(members)
    mean = mean_of_members(members)
    for photo in range(4):
        by_class = [dict(zip(CLASSES, members[index, photo], strict=True)) for index in range(3)]
        prediction = Prediction.of(
            probabilities=dict(zip(CLASSES, mean[photo], strict=True)),
            members={str(index): each for index, each in enumerate(by_class)},
        )
        assert prediction.spread == pytest.approx(spread[photo])
