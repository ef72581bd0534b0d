import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, roc_auc_score

from ml.labels import CLASSES
from ml.metrics import (
    balanced_accuracy,
    balanced_accuracy_interval,
    brier_score,
    calibration_error,
    classwise_calibration_error,
    coverage_at_error,
    negative_log_likelihood,
    negative_predictive_value,
    reliability,
    risk_coverage,
    share_with_interval,
    summarise,
)


@pytest.fixture
def scored():
    generator = np.random.default_rng(4)
    labels = np.concatenate([np.arange(7), generator.integers(0, 7, 293)])
    logits = generator.normal(size=(300, 7))
    logits[np.arange(300), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, labels, [f"lesion {number // 2}" for number in range(300)]


def test_figures_agree_with_scikit_learn(scored):
    probabilities, labels, groups = scored
    figures = summarise(probabilities, labels, groups)
    top = probabilities.argmax(axis=1)
    assert figures["bma"] == pytest.approx(balanced_accuracy_score(labels, top))
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, top, average="macro"))
    assert figures["macro_auc"] == pytest.approx(
        roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    expected = precision_score(labels, top, average=None)
    assert list(figures["precision"].values()) == pytest.approx(list(expected))


def test_the_interval_holds_the_value_and_widens_when_lesions_have_more_images(scored):
    probabilities, labels, groups = scored
    predicted = probabilities.argmax(axis=1)
    low, high = balanced_accuracy_interval(predicted, labels, groups)
    assert low < balanced_accuracy(probabilities, labels) < high
    copies = (np.repeat(predicted, 4), np.repeat(labels, 4))
    grouped = balanced_accuracy_interval(*copies, [name for name in groups for _ in range(4)])
    single = balanced_accuracy_interval(*copies, [str(number) for number in range(1200)])
    assert grouped[1] - grouped[0] > 1.5 * (single[1] - single[0])


def test_named_classes_count_for_recall_and_probabilities_for_the_rest(scored):
    probabilities, labels, groups = scored
    plain = summarise(probabilities, labels, groups)
    named = summarise(probabilities, labels, groups, named=labels)
    assert (named["bma"], named["accuracy"]) == (1.0, 1.0)
    assert named["likeliest_accuracy"] == plain["accuracy"]
    assert named["likeliest_bma"] == plain["bma"]
    assert named["ece"] == plain["ece"]


def test_a_sure_and_right_classifier_has_no_calibration_error():
    labels = np.arange(7)
    assert calibration_error(np.eye(7), labels) == 0.0
    assert brier_score(np.eye(7), labels) == 0.0


def test_a_sure_and_wrong_classifier_has_the_full_calibration_error():
    wrong = np.roll(np.eye(7), 1, axis=1)
    assert calibration_error(wrong, np.arange(7)) == 1.0
    assert brier_score(wrong, np.arange(7)) == 2.0


def test_a_class_without_images_has_no_recall_and_does_not_count():
    figures = summarise(np.eye(7)[[4, 5]], np.array([4, 5]), ["a", "b"])
    assert figures["recall"]["df"] is None
    assert figures["bma"] == 1.0
    assert set(figures["recall"]) == set(CLASSES)


def test_a_share_without_cases_is_none():
    none = np.zeros(3, dtype=bool)
    assert share_with_interval(none, none, ["a", "b", "c"])["value"] is None


def test_a_share_has_an_interval_around_it():
    hits = np.array([True] * 30 + [False] * 10)
    figure = share_with_interval(hits, np.ones(40, bool), [str(number) for number in range(40)])
    assert figure["value"] == 0.75
    assert figure["interval"][0] < 0.75 < figure["interval"][1]


def test_negative_predictive_value_follows_bayes():
    value = negative_predictive_value(sensitivity=0.97, specificity=0.71, prevalence=0.07)
    assert value == pytest.approx(0.9968, abs=1e-4)
    assert negative_predictive_value(sensitivity=1.0, specificity=0.0, prevalence=0.1) is None


def test_classwise_calibration_is_nought_for_the_sure_and_right_and_large_for_the_wrong():
    labels = np.arange(7)
    assert classwise_calibration_error(np.eye(7), labels) == 0.0
    wrong = np.roll(np.eye(7), 1, axis=1)
    assert classwise_calibration_error(wrong, labels) == pytest.approx(2.0 / 7.0)


def test_reliability_sorts_photos_by_confidence():
    sure, half = np.eye(7)[:1], np.array([[0.52, 0.48, 0, 0, 0, 0, 0]])
    probabilities = np.concatenate([sure, half, half])
    bins = reliability(probabilities, np.array([0, 0, 1]))
    assert bins == [
        {"n": 2, "confidence": pytest.approx(0.52), "accuracy": 0.5},
        {"n": 1, "confidence": 1.0, "accuracy": 1.0},
    ]


def test_risk_and_coverage_by_hand():
    """The surest two are right, the next wrong, the least sure right."""
    confidence = np.array([0.9, 0.3, 0.8, 0.5])
    correct = np.array([True, True, True, False])
    coverage, errors = risk_coverage(confidence, correct)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert errors.tolist() == pytest.approx([0.0, 0.0, 1 / 3, 0.25])
    assert coverage_at_error(confidence, correct, 0.05) == 0.5
    assert coverage_at_error(confidence, correct, 0.25) == 1.0
    assert coverage_at_error(confidence, ~correct, 0.05) == 0.0


def test_the_loss_is_the_mean_surprise_at_the_truth():
    probabilities = np.array([[0.5, 0.5, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0]])
    loss = negative_log_likelihood(probabilities, np.array([1, 0]))
    assert loss == pytest.approx(np.log(2.0) / 2.0)
