"""Figures of a classifier on labelled images: numpy and scikit-learn, no torch.

Intervals are 95 % percentile bootstraps that draw whole lesions, because the images of one lesion
are not independent.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ml.arrays import Floats, Labels
from ml.labels import CLASSES

Interval = tuple[float, float]
_BINS: Final = 15
_REPLICATES: Final = 1000
_SEED: Final = 7
PREVALENCES: Final = (0.02, 0.07, 0.10)


def share_of(part: Floats, whole: Floats) -> Floats:
    """Part of whole, NaN where the whole is empty."""
    filled = np.where(whole > 0, whole, 1.0)
    ratio: Floats = np.where(whole > 0, part / filled, np.nan)
    return ratio


def confusion(predicted: Labels, labels: Labels) -> Floats:
    """Count images: [true, predicted]."""
    counts = np.zeros((len(CLASSES), len(CLASSES)))
    np.add.at(counts, (labels, predicted), 1.0)
    return counts


def recalls(predicted: Labels, labels: Labels) -> Floats:
    """Recall of each class; NaN where the class has no image."""
    counts = confusion(predicted, labels)
    return share_of(np.diag(counts), counts.sum(axis=1))


def balanced_accuracy(probabilities: Floats, labels: Labels) -> float:
    """Mean recall over the classes that occur (the BMA of the ISIC 2018 challenge)."""
    return float(np.nanmean(recalls(probabilities.argmax(axis=1), labels)))


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """Mean over the photos, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def class_aucs(probabilities: Floats, labels: Labels) -> Floats:
    """Area under each one-against-rest curve [classes]; NaN for a class without both sides."""
    return np.array(
        [
            roc_auc_score(labels == index, probabilities[:, index])
            if 0 < int((labels == index).sum()) < len(labels)
            else np.nan
            for index in range(len(CLASSES))
        ]
    )


def macro_auc(probabilities: Floats, labels: Labels) -> float:
    """Mean of the areas of the classes that have both sides; NaN if none has."""
    areas = class_aucs(probabilities, labels)
    return float(np.nanmean(areas)) if not np.isnan(areas).all() else float("nan")


def calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Compute the ECE of the top class over 15 bins of equal width."""
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.zeros(_BINS)
    np.add.at(gaps, bins, confidence - correct)
    return float(np.abs(gaps).sum() / len(labels))


def classwise_calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Mean over the classes of the ECE of each class's own probability (Kull et al. 2019)."""
    truth = np.eye(len(CLASSES))[labels]
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.zeros((_BINS, len(CLASSES)))
    columns = np.broadcast_to(np.arange(len(CLASSES)), bins.shape)
    np.add.at(gaps, (bins, columns), probabilities - truth)
    return float(np.abs(gaps).sum(axis=0).mean() / len(labels))


def reliability(probabilities: Floats, labels: Labels) -> list[dict[str, float]]:
    """Confidence and accuracy of the photos in each bin that holds any."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    return [
        {
            "n": int((bins == number).sum()),
            "confidence": float(confidence[bins == number].mean()),
            "accuracy": float(correct[bins == number].mean()),
        }
        for number in np.unique(bins)
    ]


def risk_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Coverage [n] and error [n] when only the k surest photos are answered, for every k."""
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    errors: Floats = np.cumsum(~correct[order]) / answered
    return answered / len(order), errors


def coverage_at_error(confidence: Floats, correct: NDArray[np.bool_], error: float) -> float:
    """Largest share of photos, the surest first, that is answered with at most this error."""
    coverage, errors = risk_coverage(confidence, correct)
    within = coverage[errors <= error]
    return float(within.max()) if len(within) else 0.0


def brier_score(probabilities: Floats, labels: Labels) -> float:
    """Mean squared distance (0..2) of the probabilities from the one-hot truth."""
    truth = np.eye(len(CLASSES))[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def lesion_draws(groups: Sequence[str]) -> tuple[NDArray[np.int64], Floats]:
    """Each image's lesion number, and how often each replicate draws each lesion [r, lesions]."""
    _, numbers = np.unique(np.array(groups), return_inverse=True)
    count = int(numbers.max()) + 1
    generator = np.random.default_rng(_SEED)
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=_REPLICATES)
    return numbers.astype(np.int64), drawn.astype(np.float64)


def interval_of(replicates: Floats) -> Interval:
    low, high = np.nanpercentile(replicates, (2.5, 97.5))
    return float(low), float(high)


def sum_per_lesion(values: Floats, numbers: NDArray[np.int64]) -> Floats:
    """Sum [n, k] over the images of each lesion: [lesions, k]."""
    sums = np.zeros((int(numbers.max()) + 1, values.shape[1]))
    np.add.at(sums, numbers, values)
    return sums


def balanced_accuracy_interval(
    predicted: Labels, labels: Labels, groups: Sequence[str]
) -> Interval:
    """95 % interval of the mean recall of predicted classes [n]."""
    numbers, drawn = lesion_draws(groups)
    truth = np.eye(len(CLASSES))[labels]
    hits = truth * (predicted == labels)[:, None]
    found = drawn @ sum_per_lesion(hits, numbers)
    present = drawn @ sum_per_lesion(truth, numbers)
    return interval_of(np.nanmean(share_of(found, present), axis=1))


def share_with_interval(
    hits: NDArray[np.bool_], among: NDArray[np.bool_], groups: Sequence[str]
) -> dict[str, Any]:
    """Share of `hits` among the chosen images, with its interval and count; None without any."""
    if not among.any():
        return {"value": None, "interval": None, "n": 0}
    numbers, drawn = lesion_draws([group for group, chosen in zip(groups, among, strict=True)
                                      if chosen])  # fmt: skip
    chosen_hits = hits[among].astype(np.float64)[:, None]
    sums = drawn @ sum_per_lesion(np.hstack([chosen_hits, np.ones_like(chosen_hits)]), numbers)
    return {
        "value": float(chosen_hits.mean()),
        "interval": interval_of(share_of(sums[:, 0], sums[:, 1])),
        "n": int(among.sum()),
    }


def ratio_with_interval(
    part: Floats, whole: Floats, groups: Sequence[str]
) -> tuple[float, Interval] | tuple[None, None]:
    """Sum of `part` over sum of `whole`, both [n], with its interval; None when the whole is 0."""
    if not whole.any():
        return None, None
    numbers, drawn = lesion_draws(groups)
    sums = drawn @ sum_per_lesion(np.stack([part, whole], axis=1), numbers)
    return float(part.sum() / whole.sum()), interval_of(share_of(sums[:, 0], sums[:, 1]))


def negative_predictive_value(
    *, sensitivity: float, specificity: float, prevalence: float
) -> float | None:
    """Bayes' rule; None when nobody would be called negative."""
    healthy = specificity * (1.0 - prevalence)
    missed = (1.0 - sensitivity) * prevalence
    return healthy / (healthy + missed) if healthy + missed > 0.0 else None


def _by_class(values: Floats) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(CLASSES, values, strict=True)
    }


def summarise(
    probabilities: Floats, labels: Labels, groups: Sequence[str], *, named: Labels | None = None
) -> dict[str, Any]:
    """All figures of probabilities [n, classes]; a figure without cases is None.

    Recall, precision, F1, BMA and accuracy are those of the `named` classes [n], by default the
    likeliest; the other figures are of the probabilities.
    """
    likeliest: Labels = probabilities.argmax(axis=1)
    predicted = likeliest if named is None else named
    counts = confusion(predicted, labels)
    recall = share_of(np.diag(counts), counts.sum(axis=1))
    precision = share_of(np.diag(counts), counts.sum(axis=0))
    # A class that is never named has precision 0 in the F1 score, as in scikit-learn.
    both = np.nan_to_num(precision) + recall
    f1 = np.where(both > 0, 2.0 * np.nan_to_num(precision) * recall / np.maximum(both, 1e-12), 0.0)
    area = macro_auc(probabilities, labels)
    return {
        "n": len(labels),
        "bma": float(np.nanmean(recall)),
        "bma_interval": balanced_accuracy_interval(predicted, labels, groups),
        "accuracy": float(np.diag(counts).sum() / counts.sum()),
        "likeliest_accuracy": float((likeliest == labels).mean()),
        "likeliest_bma": balanced_accuracy(probabilities, labels),
        "macro_f1": float(f1[~np.isnan(recall)].mean()),
        "macro_recall": float(np.nanmean(recall)),
        "confusion": counts.astype(int).tolist(),
        "macro_auc": None if np.isnan(area) else area,
        "support": {name: int(n) for name, n in zip(CLASSES, counts.sum(axis=1), strict=True)},
        "recall": _by_class(recall),
        "precision": _by_class(precision),
        "f1": _by_class(np.where(np.isnan(recall), np.nan, f1)),
        "auc": _by_class(class_aucs(probabilities, labels)),
        "loss": negative_log_likelihood(probabilities, labels),
        "ece": calibration_error(probabilities, labels),
        "classwise_ece": classwise_calibration_error(probabilities, labels),
        "brier": brier_score(probabilities, labels),
    }
