"""Statistics of readers: agreement beyond chance, shares, quantiles; each with a 95 % interval.

General formulas over plain values; what a reading is, other modules know.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Z_95: Final = 1.959963984540054  # the standard normal's 97.5 % quantile

Value = TypeVar("Value")
Weight = Callable[[int, int, int], float]


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance: 1 is perfect, 0 what chance gives. `n` counts the pairs.

    `low` and `high` bound the 95 % interval. All three are None where agreement has no meaning:
    without pairs, or where both sides always said the same one thing.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bounds of the 95 % interval (Wilson 1927, JASA 22:209), good for small n too."""
        if not self.n:
            return None
        share, spread = self.hits / self.n, Z_95**2 / self.n
        centre = share + spread / 2.0
        half = Z_95 * math.sqrt(share * (1.0 - share) / self.n + spread / (4.0 * self.n))
        return (
            max(0.0, (centre - half) / (1.0 + spread)),
            min(1.0, (centre + half) / (1.0 + spread)),
        )


def identical(row: int, column: int, _count: int) -> float:
    """The weight of Cohen's plain kappa: only the same category agrees."""
    return float(row == column)


def linear(row: int, column: int, count: int) -> float:
    """The weight for ordered categories: neighbours agree in part (Cicchetti & Allison 1971)."""
    return 1.0 - abs(row - column) / (count - 1)


def kappa(
    pairs: Sequence[tuple[Value, Value]],
    categories: Sequence[Value],
    weight: Weight = identical,
) -> Kappa:
    """Cohen's kappa (1960), or with `linear` the weighted one (Cohen 1968), of paired ratings.

    `categories` holds every value that may occur, in their order where the weight asks for one.
    The interval is value +- 1.96 standard errors by the large-sample formula of Fleiss, Cohen and
    Everitt (1969), Psychological Bulletin 72:323, cut at -1 and 1.

    Raises:
        ValueError: a rating is none of the categories.

    """
    n, size = len(pairs), len(categories)
    counts = [[0] * size for _ in categories]
    for one, other in pairs:
        counts[categories.index(one)][categories.index(other)] += 1
    if not n:
        return Kappa(None, None, None, 0)
    cells = [(i, j, counts[i][j] / n, weight(i, j, size)) for i in range(size) for j in range(size)]
    rows = [sum(counts[i]) / n for i in range(size)]
    columns = [sum(row[j] for row in counts) / n for j in range(size)]
    observed = sum(share * w for _, _, share, w in cells)
    expected = sum(rows[i] * columns[j] * w for i, j, _, w in cells)
    if math.isclose(expected, 1.0):
        return Kappa(None, None, None, n)
    value = (observed - expected) / (1.0 - expected)
    of_row = [sum(columns[j] * w for i, j, _, w in cells if i == k) for k in range(size)]
    of_column = [sum(rows[i] * w for i, j, _, w in cells if j == k) for k in range(size)]
    squares = sum(
        share * (w - (of_row[i] + of_column[j]) * (1.0 - value)) ** 2 for i, j, share, w in cells
    )
    variance = (squares - (value - expected * (1.0 - value)) ** 2) / (n * (1.0 - expected) ** 2)
    half = Z_95 * math.sqrt(max(0.0, variance))
    return Kappa(value, max(-1.0, value - half), min(1.0, value + half), n)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none.

    Nearest rank: Hyndman & Fan (1996), The American Statistician 50:361, definition 1.
    """
    if not values:
        return None
    # Rounded, because 0.95 * 20 is a little more than 19 in binary.
    rank = math.ceil(round(share * len(values), 9))
    return sorted(values)[max(0, rank - 1)]
