"""The rule by which the members' answers become one.

Votes, then two readings of the mean: the class that it names, as if all classes were equally common
(as the members learned), and calibrated probabilities for the prevalence of the data.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.arrays import Floats, Labels
from ml.conformal import Conformal
from ml.labels import CLASSES
from ml.prediction import ByClass, Prediction
from ml.temperature import apply_prevalence, apply_temperature, mean_of_members


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`votes` by member, in their order; `prevalence` by class.

    It is applied with `prevalence_power` for probabilities and `named_power` for the named class:
    draws and losses of training leave some of it in the members, or take too much away.
    """

    votes: Mapping[str, float]
    prevalence: Mapping[str, float]
    prevalence_power: float
    named_power: float
    temperature: float
    conformal: Conformal

    def mean(self, answers: Floats) -> Floats:
        """[members, n, classes] -> [n, classes]: the weighted mean."""
        return mean_of_members(answers, np.array(list(self.votes.values())))

    def calibrated(self, mean: Floats) -> Floats:
        """[n, classes] -> [n, classes] for the prevalence of the data."""
        return apply_temperature(self._weighed(mean, self.prevalence_power), self.temperature)

    def named(self, mean: Floats) -> Labels:
        """[n, classes] -> [n]: the class to name if all were equally common."""
        named: Labels = self._weighed(mean, self.named_power).argmax(axis=1)
        return named

    def _weighed(self, mean: Floats, power: float) -> Floats:
        prevalence = np.array([self.prevalence[name] for name in CLASSES])
        return apply_prevalence(mean, prevalence, power)


def by_class(probabilities: Floats) -> ByClass:
    """Name a vector [classes]."""
    return {name: float(value) for name, value in zip(CLASSES, probabilities, strict=True)}


def combine(answers: Floats, outlier_scores: Floats, rule: Rule) -> list[Prediction]:
    """Predictions of n photos from answers [members, n, classes], members in the order of votes."""
    mean = rule.mean(answers)
    rows = zip(
        rule.named(mean),
        rule.calibrated(mean),
        answers.swapaxes(0, 1),
        outlier_scores,
        strict=True,
    )
    predictions = []
    for named, calibrated, members, outlier_score in rows:
        probabilities = by_class(calibrated)
        predictions.append(
            Prediction.of(
                probabilities=probabilities,
                members={
                    name: by_class(own) for name, own in zip(rule.votes, members, strict=True)
                },
                named_class=CLASSES[named],
                sets=rule.conformal.sets(probabilities),
                outlier_score=float(outlier_score),
            )
        )
    return predictions
