"""The rule by which the members' answers become one: votes, temperature, prediction sets."""

from collections.abc import Sequence

import numpy as np

from ml.arrays import Floats
from ml.conformal import Conformal
from ml.labels import CLASSES
from ml.prediction import ByClass, Prediction
from ml.temperature import apply_temperature, mean_of_members


def by_class(probabilities: Floats) -> ByClass:
    """Name a vector [classes]."""
    return {name: float(value) for name, value in zip(CLASSES, probabilities, strict=True)}


def combine(
    answers: Floats,
    outlier_scores: Floats,
    *,
    votes: dict[str, float],
    temperature: float,
    conformal: Conformal,
) -> list[Prediction]:
    """Predictions of n photos from answers [members, n, classes], members in the order of votes."""
    mean = mean_of_members(answers, np.array(list(votes.values())))
    calibrated = apply_temperature(mean, temperature)
    photos: Sequence[tuple[Floats, Floats, float]] = list(
        zip(calibrated, answers.swapaxes(0, 1), outlier_scores, strict=True)
    )
    return [
        _prediction(row, dict(zip(votes, members, strict=True)), score, conformal)
        for row, members, score in photos
    ]


def _prediction(
    row: Floats, members: dict[str, Floats], outlier_score: float, conformal: Conformal
) -> Prediction:
    probabilities = by_class(row)
    return Prediction.of(
        probabilities=probabilities,
        members={name: by_class(own) for name, own in members.items()},
        sets=conformal.sets(probabilities),
        outlier_score=float(outlier_score),
    )
