"""Mean of the members' probabilities, one temperature, and thresholds chosen on held-out images."""

from typing import Final

import numpy as np

from ml.arrays import Floats, Labels
from ml.labels import CLASSES, MALIGNANT
from ml.triage import Policy

MELANOMA_SENSITIVITY: Final = 0.97
MALIGNANT_SENSITIVITY: Final = 0.95
URGENT_SPECIFICITY: Final = 0.95
DOUBT_PERCENT: Final = 3.0
MALIGNANT_INDEXES: Final = [CLASSES.index(name) for name in CLASSES if name in MALIGNANT]
_MELANOMA: Final = CLASSES.index("mel")


def mean_of_members(members: Floats) -> Floats:
    """[members, n, classes] -> [n, classes]: every member has the same vote."""
    mean: Floats = members.mean(axis=0)
    return mean


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities to the power 1/T, normalised: softer above one, sharper below."""
    logits = np.log(np.maximum(probabilities, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scaled


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


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


def total_variation_spread(members: Floats) -> Floats:
    """[members, n, classes] -> [n]: as Prediction.spread, for many photos at once."""
    spread: Floats = (np.abs(members - members.mean(axis=0)).sum(axis=2) / 2.0).mean(axis=0)
    return spread


def threshold_for_sensitivity(scores: Floats, *, sensitivity: float) -> float:
    """Find the highest threshold t with at least this share of the positive `scores` >= t."""
    allowed = int(np.floor(len(scores) * (1.0 - sensitivity) + 1e-9))
    return float(np.sort(scores)[allowed])


def choose_policy(probabilities: Floats, spread: Floats, labels: Labels) -> Policy:
    """Thresholds from calibrated probabilities [n, classes] of held-out photos."""
    malignant = probabilities[:, MALIGNANT_INDEXES].sum(axis=1)
    truly = np.isin(labels, MALIGNANT_INDEXES)
    suspicious = min(
        threshold_for_sensitivity(malignant[labels == _MELANOMA], sensitivity=MELANOMA_SENSITIVITY),
        threshold_for_sensitivity(malignant[truly], sensitivity=MALIGNANT_SENSITIVITY),
    )
    urgent = float(np.quantile(malignant[~truly], URGENT_SPECIFICITY))
    return Policy(
        suspicious_malignant=suspicious,
        urgent_malignant=max(urgent, suspicious),
        low_confidence=float(np.percentile(probabilities.max(axis=1), DOUBT_PERCENT)),
        high_spread=float(np.percentile(spread, 100.0 - DOUBT_PERCENT)),
    )
