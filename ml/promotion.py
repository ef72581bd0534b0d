"""May a candidate replace the live bundle? The rule, on what both said of the same photos.

A candidate is refused when the melanoma sensitivity of the triage or the recall of any class has
fallen, overall or in a subgroup: when the 95 % interval of candidate minus live lies wholly below
zero. The interval is a paired percentile bootstrap that draws whole lesions (Efron, Tibshirani: An
Introduction to the Bootstrap, 1993, chapter 13).

Why the interval of the difference and not that of the live figure: both bundles judge the same
photos, so what they agree on says nothing about the change. The live figure's own interval forgets
that. Where 75 of 100 are right it would pass the loss of eight of them without any gain, and where
none is missed its width is zero, so that a single photo would refuse.

Each figure is tested for itself, without a correction for their number. On the reporting half (35
figures) chance alone refuses nearly half of the candidates that are exactly as good, one in six of
those that are three points better in every class and one in twenty at six points (simulated). A
candidate that is no better need not go live, so this is the cheaper of the two mistakes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Floats, Labels
from ml.labels import CLASS_INDEX, CLASSES
from ml.metrics import Interval, interval_of, lesion_draws, sum_per_lesion
from ml.subgroups import UNKNOWN

Chosen = NDArray[np.bool_]

# The bootstrap tells no loss of fewer than four lesions from chance: 13 in 100 of this number, and
# of fewer photos nothing short of a collapse.
SMALLEST_SUBGROUP: Final = 30


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The held-out photos: class [n], lesion and groups (such as {"sex": "female"}) of each."""

    labels: Labels
    lesions: Sequence[str]
    subgroups: Sequence[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one bundle said of them: likeliest class [n]; found [n], by the triage not routine."""

    predicted: Labels
    found: Chosen


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure of both bundles; `low` to `high` is the 95 % interval of candidate minus live."""

    what: str
    photos: int
    live: float
    candidate: float
    low: float
    high: float

    @property
    def fallen(self) -> bool:
        return self.high < 0.0


def compare(truth: Truth, live: Answers, candidate: Answers) -> list[Comparison]:
    """Every figure that can refuse a candidate: overall, then by subgroup.

    A class without any photo is left out, and so is a subgroup with fewer than SMALLEST_SUBGROUP
    photos of the class concerned.
    """
    return [
        _comparison(f"{figure}{group}", members & among, truth.lesions, hits)
        for group, members, smallest in _groups(truth)
        for figure, among, hits in _figures(truth.labels, live, candidate)
        if int((members & among).sum()) >= smallest
    ]


def _groups(truth: Truth) -> Iterator[tuple[str, Chosen, int]]:
    """Words, members [n] and fewest photos of a class: of all photos, then of each subgroup."""
    yield "", np.ones(len(truth.labels), dtype=bool), 1
    for kind in truth.subgroups[0]:
        values = np.array([groups[kind] for groups in truth.subgroups])
        for value in np.unique(values[values != UNKNOWN]):
            yield f", {kind} {value}", values == value, SMALLEST_SUBGROUP


def _figures(
    labels: Labels, live: Answers, candidate: Answers
) -> Iterator[tuple[str, Chosen, tuple[Chosen, Chosen]]]:
    """Words, the photos concerned [n], and where live and candidate are right [n]."""
    melanoma = labels == CLASS_INDEX["mel"]
    yield "melanoma sensitivity", melanoma, (live.found, candidate.found)
    right = (live.predicted == labels, candidate.predicted == labels)
    for index, name in enumerate(CLASSES):
        yield f"recall of {name}", labels == index, right


def _comparison(
    what: str, among: Chosen, lesions: Sequence[str], hits: tuple[Chosen, Chosen]
) -> Comparison:
    live, candidate = (of_one[among].astype(np.float64) for of_one in hits)
    concerned = [lesion for lesion, chosen in zip(lesions, among, strict=True) if chosen]
    low, high = _interval(candidate - live, concerned)
    return Comparison(
        what=what,
        photos=len(live),
        live=float(live.mean()),
        candidate=float(candidate.mean()),
        low=low,
        high=high,
    )


def _interval(gains: Floats, lesions: Sequence[str]) -> Interval:
    """95 % interval of the mean of `gains` [n] when lesions are drawn with replacement."""
    numbers, drawn = lesion_draws(lesions)
    sums = drawn @ sum_per_lesion(np.stack([gains, np.ones_like(gains)], axis=1), numbers)
    return interval_of(sums[:, 0] / sums[:, 1])
