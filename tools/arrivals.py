"""How cases come in over a day: the hours' shares, bursts, and a seeded stream of moments.

Times are seconds from the midnight that starts the first day.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HOUR = 3600.0
DAY = 24 * HOUR

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Burst:
    """For `hours` from `start_hour` of the first day on, `factor` times as many cases come."""

    start_hour: float
    hours: float
    factor: float


@dataclass(frozen=True)
class Arrivals:
    """Cases a day, how they spread over its hours, and bursts."""

    per_day: float
    hourly: tuple[float, ...] = (1.0,) * 24
    bursts: tuple[Burst, ...] = ()

    def rate(self, second: float) -> float:
        """Cases a second at that moment."""
        hour = second / HOUR
        share = self.hourly[int(hour) % 24] / sum(self.hourly)
        factors = [one.factor for one in self.bursts if 0 <= hour - one.start_hour < one.hours]
        return self.per_day * share / HOUR * math.prod(factors)

    def draw(self, random: np.random.Generator, days: float) -> Seconds:
        """A Poisson stream whose rate changes with the hour (by thinning: Lewis, Shedler 1979)."""
        highest, end = self.highest(days), days * DAY
        moments = np.sort(random.uniform(0, end, random.poisson(highest * end)))
        rates = np.fromiter((self.rate(one) for one in moments), float, len(moments))
        kept: Seconds = moments[random.uniform(0, highest, len(moments)) < rates]
        return kept

    def highest(self, days: float) -> float:
        """The highest rate within so many days, in cases a second."""
        edges = {one.start_hour + part for one in self.bursts for part in (0.0, one.hours)}
        changes = sorted({float(hour) for hour in range(math.ceil(24 * days) + 1)} | edges)
        between = [(one + after) / 2 for one, after in pairwise(changes)]
        return max(self.rate(hour * HOUR) for hour in between)
