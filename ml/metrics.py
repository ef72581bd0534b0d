"""Figures of a classifier on labelled images: plain numpy and scikit-learn, no torch."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.labels import CLASSES

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
_BINS: Final = 15


def recalls(probabilities: Floats, labels: Labels) -> Floats:
    """Recall of each class; NaN where the class has no image."""
    top = probabilities.argmax(axis=1)
    found = [
        float((top[labels == index] == index).mean()) if (labels == index).any() else np.nan
        for index in range(len(CLASSES))
    ]
    return np.array(found)


def balanced_accuracy(probabilities: Floats, labels: Labels) -> float:
    """Mean recall over the classes that occur (the BMA of the ISIC 2018 challenge)."""
    return float(np.nanmean(recalls(probabilities, labels)))
