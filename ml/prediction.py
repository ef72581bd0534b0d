"""What the ensemble says about one photo, in plain numbers: no torch here."""

from dataclasses import dataclass, field
from typing import Self

from ml.labels import CLASSES, MALIGNANT

ByClass = dict[str, float]


def _total_variation(one: ByClass, other: ByClass) -> float:
    return sum(abs(one[name] - other[name]) for name in CLASSES) / 2.0


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Calibrated probabilities of the ensemble, and the uncalibrated ones of each member.

    `named_class` is the ensemble's answer as if all classes were equally common, which finds rare
    ones; `top_class` is the likeliest. `spread` is the mean total variation distance (0..1) of the
    members from their plain mean. `sets`: for each level ("0.90") the classes that hold the true
    one with that chance, the likeliest first. `outlier_score`: distance from the photos of
    training, in standard deviations.
    """

    probabilities: ByClass
    members: dict[str, ByClass]
    spread: float
    named_class: str = ""
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outlier_score: float = 0.0

    def __post_init__(self) -> None:
        for probabilities in (self.probabilities, *self.members.values()):
            if tuple(sorted(probabilities)) != CLASSES:
                raise ValueError(f"probabilities must name exactly the classes {CLASSES}")
            if abs(sum(probabilities.values()) - 1.0) > 1e-3:
                raise ValueError("probabilities must sum to one")

    @classmethod
    def of(
        cls,
        *,
        probabilities: ByClass,
        members: dict[str, ByClass],
        named_class: str = "",
        sets: dict[str, tuple[str, ...]] | None = None,
        outlier_score: float = 0.0,
    ) -> Self:
        """With the spread computed from the members."""
        count = len(members)
        mean = {name: sum(each[name] for each in members.values()) / count for name in CLASSES}
        spread = sum(_total_variation(each, mean) for each in members.values()) / count
        return cls(
            probabilities=probabilities,
            members=members,
            spread=spread,
            named_class=named_class,
            sets=sets or {},
            outlier_score=outlier_score,
        )

    @property
    def answer(self) -> str:
        """The named class, or the likeliest where none was named."""
        return self.named_class or self.top_class

    @property
    def top_class(self) -> str:
        return max(CLASSES, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        return self.probabilities[self.top_class]

    @property
    def malignant_probability(self) -> float:
        return sum(self.probabilities[name] for name in MALIGNANT)

    def ranked(self) -> list[tuple[str, float]]:
        """Classes with their probabilities, the likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])
