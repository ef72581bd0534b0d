"""What is fitted on held-out images: prevalence, temperature, doubts, the operating point."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.stats import binom

from ml.arrays import Floats, Labels
from ml.labels import CLASSES, MALIGNANT
from ml.metrics import negative_log_likelihood
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.temperature import apply_prevalence, apply_temperature
from ml.triage import Policy, Urgency, expected_cost, triage

MELANOMA_SENSITIVITY: Final = 0.97
MALIGNANT_SENSITIVITY: Final = 0.95
URGENT_SPECIFICITY: Final = 0.95
DOUBT_PERCENT: Final = 3.0
RISK: Final = 0.2
MALIGNANT_INDEXES: Final = [CLASSES.index(name) for name in CLASSES if name in MALIGNANT]
_MELANOMA: Final = CLASSES.index("mel")


def fit_temperature(probabilities: Floats, labels: Labels) -> float:
    """Minimise the negative log-likelihood (Guo et al. 2017), to one part in 1000."""
    low, high = np.log(0.1), np.log(10.0)
    for _ in range(4):
        candidates = np.linspace(low, high, 25)
        losses = [
            negative_log_likelihood(apply_temperature(probabilities, float(np.exp(value))), labels)
            for value in candidates
        ]
        best = int(np.argmin(losses))
        low, high = candidates[max(0, best - 1)], candidates[min(len(candidates) - 1, best + 1)]
    return float(np.exp((low + high) / 2.0))


def prevalence_of(labels: Labels) -> Floats:
    """Share of each class [classes], a class without photos counted as one photo."""
    counts = np.maximum(np.bincount(labels, minlength=len(CLASSES)), 1).astype(np.float64)
    shares: Floats = counts / counts.sum()
    return shares


def fit_prevalence_and_temperature(mean: Floats, labels: Labels) -> tuple[float, float]:
    """Power of the prevalence and temperature that together minimise the log-likelihood loss.

    The members learn as if all classes were equally common; shown probabilities should not.
    """
    prevalence = prevalence_of(labels)

    def loss(power: float) -> tuple[float, float, float]:
        corrected = apply_prevalence(mean, prevalence, power)
        temperature = fit_temperature(corrected, labels)
        scaled = apply_temperature(corrected, temperature)
        return negative_log_likelihood(scaled, labels), power, temperature

    _, power, temperature = min(loss(float(power)) for power in np.linspace(0.0, 1.0, 21))
    return power, temperature


def allowed_misses(photos: int, *, sensitivity: float) -> int:
    """Count misses that a rule of just this sensitivity would seldom keep to (risk control).

    So few are that rare, at most RISK, for a rule that is no better: whoever keeps to them on
    held-out photos most likely has the sensitivity on new ones too (Bates et al. 2021).
    """
    chances = binom.cdf(np.arange(photos + 1), photos, 1.0 - sensitivity)
    return max(int((chances <= RISK).sum()) - 1, 0)


def threshold_for_sensitivity(scores: Floats, *, sensitivity: float) -> float:
    """Find the highest threshold that misses no more of the positive `scores` than allowed."""
    return float(np.sort(scores)[allowed_misses(len(scores), sensitivity=sensitivity)])


def choose_doubts(predictions: Sequence[Prediction]) -> Policy:
    """Marks of doubt as rare percentiles of held-out photos; no operating point yet."""
    return Policy(
        suspicious_malignant=1.0,
        urgent_malignant=1.0,
        low_confidence=_percentile([each.confidence for each in predictions], DOUBT_PERCENT),
        high_spread=_percentile([each.spread for each in predictions], 100.0 - DOUBT_PERCENT),
        unusual=_percentile([each.outlier_score for each in predictions], 100.0 - DOUBT_PERCENT),
        not_skin=max(each.outlier_score for each in predictions),
        abstain_cost=_percentile(
            [expected_cost(each) for each in predictions], 100.0 - DOUBT_PERCENT
        ),
    )


def choose_operating_point(
    doubts: Policy,
    predictions: Sequence[Prediction],
    quality_flags: Sequence[Iterable[QualityFlag]],
    labels: Labels,
) -> Policy:
    """Find the highest threshold at which enough cancers are called more than routine.

    The whole rule counts, doubts included, as it does in service. The urgent mark is the one that
    few benign photos reach.
    """
    malignant = np.array([each.malignant_probability for each in predictions])
    truly = np.isin(labels, MALIGNANT_INDEXES)
    doubted = np.array(
        [
            triage(each, doubts, quality_flags=flags).urgency is not Urgency.ROUTINE
            for each, flags in zip(predictions, quality_flags, strict=True)
        ]
    )
    scores = np.where(doubted, 1.0, malignant)
    suspicious = min(
        threshold_for_sensitivity(scores[labels == _MELANOMA], sensitivity=MELANOMA_SENSITIVITY),
        threshold_for_sensitivity(scores[truly], sensitivity=MALIGNANT_SENSITIVITY),
    )
    urgent = float(np.quantile(malignant[~truly], URGENT_SPECIFICITY))
    # Where the doubts alone find enough, no threshold is needed below the urgent mark.
    return replace(doubts, suspicious_malignant=min(suspicious, urgent), urgent_malignant=urgent)


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent))
