"""Prediction sets that hold the true class with a chosen chance, class by class.

Class-conditional split conformal prediction (Vovk 2012; Sadinle, Lei, Wasserman 2019): a class is
in the set when its calibrated probability reaches a threshold taken from held-out photos of that
very class, so that coverage of melanoma is not bought with nevi. The images of one lesion are not
exchangeable in the strict sense: the coverage that was measured stands in the model card.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Final

import numpy as np

from ml.arrays import Floats, Labels
from ml.labels import CLASSES

LEVELS: Final = ("0.90", "0.95")


@dataclass(frozen=True)
class Conformal:
    """`thresholds[level][class]`: the smallest probability that puts the class into the set."""

    thresholds: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        for level, of_class in self.thresholds.items():
            if tuple(sorted(of_class)) != CLASSES:
                raise ValueError(f"the {level} sets need a threshold for each of {CLASSES}")

    def sets(self, probabilities: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
        """Classes of each level's set, the likeliest first; the likeliest is always in it."""
        ranked = sorted(CLASSES, key=lambda name: -probabilities[name])
        return {
            level: tuple(
                name
                for place, name in enumerate(ranked)
                if place == 0 or probabilities[name] >= of_class[name]
            )
            for level, of_class in self.thresholds.items()
        }


def _threshold(own: Floats, level: float) -> float:
    """Of n exchangeable photos and one more, the last lies below it with chance 1 - level or less.

    With too few photos for the level, every probability is enough.
    """
    below = floor((len(own) + 1) * (1.0 - level) + 1e-9)
    return float(np.sort(own)[below - 1]) if below else 0.0


def fit_conformal(probabilities: Floats, labels: Labels) -> Conformal:
    """Thresholds from calibrated probabilities [n, classes] of photos that no member learned."""
    return Conformal(
        {
            level: {
                name: _threshold(probabilities[labels == index, index], float(level))
                for index, name in enumerate(CLASSES)
            }
            for level in LEVELS
        }
    )
