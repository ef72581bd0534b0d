"""A share of cases with its interval."""

import math
from dataclasses import dataclass
from typing import Final

Z_95: Final = 1.959963984540054  # the standard normal's 97.5 % quantile


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
