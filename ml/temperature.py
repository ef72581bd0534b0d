"""From the members' answers to calibrated probabilities: mean, prevalence, one temperature."""

import numpy as np

from ml.arrays import Floats


def mean_of_members(members: Floats, votes: Floats) -> Floats:
    """[members, n, classes] -> [n, classes]: the mean, weighted by the votes [members]."""
    mean: Floats = np.average(members, axis=0, weights=votes)
    return mean


def apply_prevalence(probabilities: Floats, prevalence: Floats, power: float) -> Floats:
    """Bring [n, classes], which take all classes for equally common, towards their prevalence.

    Bayes' rule for another prior (Saerens et al. 2002), tempered by `power` (0 leaves them).
    """
    weighted = probabilities * prevalence**power
    corrected: Floats = weighted / weighted.sum(axis=-1, keepdims=True)
    return corrected


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities to the power 1/T, normalised: softer above one, sharper below."""
    logits = np.log(np.maximum(probabilities, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scaled
