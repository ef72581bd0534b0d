"""Mean of the members' probabilities, and one temperature for all: what service needs of it."""

import numpy as np

from ml.arrays import Floats


def mean_of_members(members: Floats, votes: Floats) -> Floats:
    """[members, n, classes] -> [n, classes]: the mean, weighted by the votes [members]."""
    mean: Floats = np.average(members, axis=0, weights=votes)
    return mean


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities to the power 1/T, normalised: softer above one, sharper below."""
    logits = np.log(np.maximum(probabilities, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scaled
