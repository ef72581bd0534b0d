"""What a benchmark found: figures for people, and ratios that a later run is compared with."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Ratio:
    """Two measurements of one run, one over the other, once for each round; none of it has a unit.

    `better` tells which way is good.
    """

    name: str
    better: Better
    rounds: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Outcome:
    """One benchmark's result. `figures` are of this machine and are never compared with others."""

    name: str
    figures: Mapping[str, Any]
    ratios: tuple[Ratio, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return {
            "benchmark": self.name,
            "figures": dict(self.figures),
            "ratios": {
                one.name: {
                    "value": round(one.value, 3),
                    "better": one.better,
                    "rounds": [round(each, 3) for each in one.rounds],
                }
                for one in self.ratios
            },
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(100 * share) // 100) - 1)]
