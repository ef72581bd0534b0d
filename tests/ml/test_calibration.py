from dataclasses import replace

import numpy as np
import pytest

from ml.calibration import (
    allowed_misses,
    choose_doubts,
    choose_operating_point,
    fit_prevalence_and_temperature,
    fit_temperature,
    prevalence_of,
    threshold_for_sensitivity,
)
from ml.labels import CLASSES
from ml.metrics import classwise_calibration_error
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.temperature import apply_prevalence, apply_temperature, mean_of_members
from ml.triage import Urgency, triage


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


def test_prevalence_is_brought_back_to_members_that_took_all_classes_for_equally_common():
    generator = np.random.default_rng(2)
    prevalence = np.array([0.04, 0.06, 0.1, 0.02, 0.1, 0.65, 0.03])
    labels = generator.choice(7, size=6000, p=prevalence)
    logits = generator.normal(size=(6000, 7))
    logits[np.arange(6000), labels] += 1.5
    # For Gaussians of equal spread and equal prevalence this is the exact posterior.
    balanced = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum(axis=1, keepdims=True)
    power, temperature = fit_prevalence_and_temperature(balanced, labels)
    assert power == pytest.approx(1.0, abs=0.05)
    assert temperature == pytest.approx(1.0, abs=0.08)
    calibrated = apply_temperature(
        apply_prevalence(balanced, prevalence_of(labels), power), temperature
    )
    before = classwise_calibration_error(balanced, labels)
    assert classwise_calibration_error(calibrated, labels) < before / 3.0


def test_power_nought_leaves_probabilities_as_they_are(honest):
    probabilities, labels = honest
    same = apply_prevalence(probabilities, prevalence_of(labels), 0.0)
    assert same == pytest.approx(probabilities)


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
    assert (scores < threshold).sum() == allowed_misses(211, sensitivity=sensitivity)


def test_few_photos_allow_no_miss_and_many_come_near_the_wanted_share():
    """Of 112 melanomas a rule of 0.97 misses none or one in 15 of 100 draws, none in 3."""
    assert allowed_misses(20, sensitivity=0.97) == 0
    assert allowed_misses(112, sensitivity=0.97) == 1
    assert allowed_misses(10_000, sensitivity=0.97) == pytest.approx(300, abs=20)
    assert allowed_misses(50, sensitivity=1.0) == 0


def predictions_of(probabilities, **each):
    return [
        Prediction(
            probabilities=dict(zip(CLASSES, row, strict=True)),
            members={},
            **{name: values[index] for name, values in each.items()},
        )
        for index, row in enumerate(probabilities)
    ]


def test_the_whole_rule_reaches_both_sensitivities_where_it_was_chosen(honest):
    probabilities, labels = (values[:2000] for values in honest)
    spread = np.linspace(0.0, 1.0, len(labels))
    predictions = predictions_of(probabilities, spread=spread, outlier_score=spread * 9.0)
    doubts = choose_doubts(predictions)
    policy = choose_operating_point(doubts, predictions, [()] * len(labels), labels)
    found = np.array([triage(each, policy).urgency is not Urgency.ROUTINE for each in predictions])
    assert found[labels == CLASSES.index("mel")].mean() >= 0.97
    assert found[np.isin(labels, [0, 1, 4])].mean() >= 0.95
    assert policy.high_spread == pytest.approx(0.97, abs=0.001)
    assert policy.unusual == pytest.approx(9.0 * 0.97, abs=0.01)
    assert policy.not_skin == 9.0
    stricter = replace(policy, suspicious_malignant=policy.suspicious_malignant * 1.05)
    missed = [triage(each, stricter).urgency is Urgency.ROUTINE for each in predictions]
    assert np.mean(missed) > np.mean(~found)


def test_photos_that_are_doubted_anyway_let_the_threshold_rise(honest):
    probabilities, labels = (values[:500] for values in honest)
    predictions = predictions_of(probabilities, spread=np.zeros(500))
    doubts = choose_doubts(predictions)
    bare = choose_operating_point(doubts, predictions, [()] * 500, labels)
    blurred = [
        [QualityFlag.BLURRED] if label in (0, 1, 4) and number % 2 else []
        for number, label in enumerate(labels)
    ]
    flagged = choose_operating_point(doubts, predictions, blurred, labels)
    assert flagged.suspicious_malignant > bare.suspicious_malignant


def test_the_urgent_mark_stays_where_few_benign_photos_reach_it_even_if_doubts_find_all(honest):
    probabilities, labels = (values[:500] for values in honest)
    predictions = predictions_of(probabilities, spread=np.zeros(500))
    everyone = [[QualityFlag.BLURRED]] * 500
    policy = choose_operating_point(choose_doubts(predictions), predictions, everyone, labels)
    malignant = probabilities[:, [0, 1, 4]].sum(axis=1)
    benign = ~np.isin(labels, [0, 1, 4])
    assert (malignant[benign] >= policy.urgent_malignant).mean() == pytest.approx(0.05, abs=0.01)
    assert policy.suspicious_malignant == policy.urgent_malignant


def test_votes_weigh_the_members():
    members = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert mean_of_members(members, np.array([3.0, 1.0])).tolist() == [[0.75, 0.25]]
