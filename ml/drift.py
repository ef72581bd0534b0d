"""Drift: how far photos and answers have moved from what a model saw at its beginning.

Two-sample tests of a window of live results against the first results of the same model. Photos
alone may shift without harm; an alarm needs that the answers moved as well (arXiv 2601.00716).
Plain Python, because the portal draws it and carries no numpy.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from ml.labels import CLASSES

REFERENCE_SIZE: Final = 500
WINDOW_SIZE: Final = 500
SMALLEST_WINDOW: Final = 200
# For one signal in one look; tests/ml/test_drift.py computes what all of them together give.
ALPHA: Final = 0.001
BINS: Final = 10
_SMALLEST_EXPECTED: Final = 5.0  # Cochran's rule for the chi-square approximation


class Side(StrEnum):
    """What a signal speaks of."""

    PHOTOS = "photos"
    ANSWERS = "answers"


class Level(StrEnum):
    COLLECTING = "collecting"
    STEADY = "steady"
    WATCH = "watch"  # one side moved
    ALARM = "alarm"  # the photos moved, and the answers with them

    @property
    def rank(self) -> int:
        """-1 while collecting, then 0, 1 and 2."""
        return _RANKS[self]


_RANKS: Final = {Level.COLLECTING: -1, Level.STEADY: 0, Level.WATCH: 1, Level.ALARM: 2}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One analysed photo. Doubtful: its prediction set does not hold exactly one class."""

    top_class: str
    confidence: float
    doubtful: bool
    outlier_score: float
    flagged: bool
    brightness: float | None = None
    sharpness: float | None = None


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: the shares (0..1) of reference and window that fall here."""

    label: str
    reference: float
    window: float


@dataclass(frozen=True)
class Signal:
    """One comparison. `distance` is in 0..1: the largest difference of shares."""

    name: str
    side: Side
    distance: float
    p_value: float
    bars: tuple[Bar, ...]

    @property
    def shifted(self) -> bool:
        return self.p_value < ALPHA


@dataclass(frozen=True)
class Drift:
    """All comparisons of one look; none while either side is too small."""

    reference_size: int
    window_size: int
    signals: tuple[Signal, ...] = ()

    @property
    def level(self) -> Level:
        if not self.signals:
            return Level.COLLECTING
        sides = {one.side for one in self.signals if one.shifted}
        return (Level.STEADY, Level.WATCH, Level.ALARM)[len(sides)]


def compare(reference: Sequence[Answered], window: Sequence[Answered]) -> Drift:
    """Compare the window with the reference; nothing is judged before both are large enough."""
    if len(reference) < REFERENCE_SIZE or len(window) < SMALLEST_WINDOW:
        return Drift(len(reference), len(window))
    signals = [
        _distribution("Outlier score", Side.PHOTOS, [_outliers(one) for one in (reference, window)])
    ]
    for name, read in _MEASURES:
        values = [_measured(side, read) for side in (reference, window)]
        if all(len(side) >= SMALLEST_WINDOW for side in values):
            signals.append(_distribution(name, Side.PHOTOS, values))
    signals += [
        _share("Photos with a quality flag", Side.PHOTOS, [_flags(reference), _flags(window)]),
        _mix([[one.top_class for one in side] for side in (reference, window)]),
        _distribution(
            "Highest probability",
            Side.ANSWERS,
            [[one.confidence for one in side] for side in (reference, window)],
        ),
        _share("Answers in doubt", Side.ANSWERS, [_doubts(reference), _doubts(window)]),
    ]
    return Drift(len(reference), len(window), tuple(signals))


_MEASURES: Final[tuple[tuple[str, Callable[[Answered], float | None]], ...]] = (
    ("Brightness", lambda one: one.brightness),
    ("Sharpness", lambda one: one.sharpness),
)


def _measured(side: Sequence[Answered], read: Callable[[Answered], float | None]) -> list[float]:
    return [value for value in map(read, side) if value is not None]


def _outliers(side: Sequence[Answered]) -> list[float]:
    return [one.outlier_score for one in side]


def _flags(side: Sequence[Answered]) -> list[bool]:
    return [one.flagged for one in side]


def _doubts(side: Sequence[Answered]) -> list[bool]:
    return [one.doubtful for one in side]


def _distribution(name: str, side: Side, values: Sequence[Sequence[float]]) -> Signal:
    reference, window = (sorted(one) for one in values)
    distance = ks_distance(reference, window)
    p_value = ks_p_value(distance, len(reference), len(window))
    return Signal(name, side, distance, p_value, _histogram(reference, window))


def _share(name: str, side: Side, values: Sequence[Sequence[bool]]) -> Signal:
    (yes_before, yes_now), sizes = [sum(one) for one in values], [len(one) for one in values]
    before, now = yes_before / sizes[0], yes_now / sizes[1]
    counts = [(yes_before, sizes[0] - yes_before), (yes_now, sizes[1] - yes_now)]
    bars = (Bar("yes", before, now), Bar("no", 1.0 - before, 1.0 - now))
    return Signal(name, side, abs(now - before), homogeneity_p_value(*counts), bars)


def _mix(values: Sequence[Sequence[str]]) -> Signal:
    before, now = ([one.count(name) for name in CLASSES] for one in values)
    bars = tuple(
        Bar(name, one / len(values[0]), other / len(values[1]))
        for name, one, other in zip(CLASSES, before, now, strict=True)
    )
    distance = max(abs(bar.window - bar.reference) for bar in bars)
    return Signal("Likeliest class", Side.ANSWERS, distance, homogeneity_p_value(before, now), bars)


def _histogram(reference: Sequence[float], window: Sequence[float]) -> tuple[Bar, ...]:
    """Equal bins over what the reference spans; both ends are open."""
    low, high = reference[0], reference[-1]
    width = (high - low) / BINS or 1.0
    edges = [low + width * step for step in range(1, BINS)]
    labels = [f"below {edges[0]:.2f}"]
    labels += [f"{one:.2f} to {other:.2f}" for one, other in pairwise(edges)]
    labels.append(f"from {edges[-1]:.2f}")
    shares = [_shares(side, edges) for side in (reference, window)]
    return tuple(Bar(*bar) for bar in zip(labels, *shares, strict=True))


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    places = [bisect_right(edges, value) for value in values]
    return [places.count(place) / len(values) for place in range(len(edges) + 1)]


def ks_distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest difference of two empirical distribution functions, both sorted (Kolmogorov)."""
    return max(
        abs(bisect_right(one, value) / len(one) - bisect_right(other, value) / len(other))
        for value in (*one, *other)
    )


def ks_p_value(distance: float, size: int, other_size: int) -> float:
    """Two-sample Kolmogorov-Smirnov, asymptotic with Stephens' correction (1970)."""
    root = math.sqrt(size * other_size / (size + other_size))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:  # the series alternates slowly there; the exact value is above 0.99999
        return 1.0
    terms = (
        math.copysign(1.0, k % 2 - 0.5) * math.exp(-2.0 * (k * scaled) ** 2) for k in range(1, 101)
    )
    return min(1.0, max(0.0, 2.0 * sum(terms)))


def homogeneity_p_value(one: Sequence[int], other: Sequence[int]) -> float:
    """Pearson's chi-square test that two rows of counts come from one distribution.

    Columns that are expected too rarely for the approximation are pooled.
    """
    sizes = sum(one), sum(other)
    columns = _pooled(list(zip(one, other, strict=True)), min(sizes) / sum(sizes))
    if len(columns) < 2:
        return 1.0
    statistic = 0.0
    for column in columns:
        for count, size in zip(column, sizes, strict=True):
            expected = sum(column) * size / sum(sizes)
            statistic += (count - expected) ** 2 / expected
    return chi_square_tail(statistic, len(columns) - 1)


def _pooled(columns: Sequence[tuple[int, int]], smaller_share: float) -> list[tuple[int, int]]:
    common = [one for one in columns if sum(one) * smaller_share >= _SMALLEST_EXPECTED]
    rare = [one for one in columns if sum(one) * smaller_share < _SMALLEST_EXPECTED]
    rest = (sum(one[0] for one in rare), sum(one[1] for one in rare))
    return [*common, rest] if sum(rest) > 0 else common


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(X >= statistic) for chi-square with `freedom` degrees: the closed forms (A&S 26.4.4-5)."""
    half = statistic / 2.0
    if freedom % 2 == 0:
        powers = (half**k / math.factorial(k) for k in range(freedom // 2))
        return math.exp(-half) * sum(powers)
    powers = (half ** (k + 0.5) / math.gamma(k + 1.5) for k in range(freedom // 2))
    return math.erfc(math.sqrt(half)) + math.exp(-half) * sum(powers)
