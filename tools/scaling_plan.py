"""A plan for many machines from what was measured on one: `python -m tools.scaling_plan FILE`.

FILE is what `python -m tools.scaling_measure` printed. Prices are yours: none is assumed.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.arrivals import DAY, Arrivals
from tools.simulate import HOURLY

DAYS_A_YEAR = 365.25
MONTHS_A_YEAR = 12
GB, TB = 1e9, 1e12


@dataclass(frozen=True)
class Load:
    """What comes in, and how busy a worker may be in the highest hour."""

    per_day: float
    burst: float = 1.5  # how far a busy day's highest hour lies above the usual one
    utilisation: float = 0.7

    @property
    def mean(self) -> float:
        """Cases a second."""
        return self.per_day / DAY

    @property
    def peak(self) -> float:
        """Cases a second in the highest hour."""
        return Arrivals(self.per_day, HOURLY).highest(1) * self.burst

    def workers(self, cases_per_second: float) -> int:
        """How many workers of this rate hold the highest hour."""
        return math.ceil(self.peak / (cases_per_second * self.utilisation))


@dataclass(frozen=True)
class Measured:
    """One machine's figures; bytes are those of one signed case."""

    worker_seconds: float
    store_bytes: int
    database_bytes: int
    audit_entries: float
    audit_appends: dict[str, float]  # entries a second, by how they were written

    @classmethod
    def read(cls, found: dict[str, Any]) -> "Measured":
        return cls(
            found["worker_seconds_each"],
            sum(found["store_bytes_of_case"].values()),
            sum(found["database_bytes_of_case"].values()),
            found["audit_entries_of_case"],
            found["audit_appends_per_second"],
        )


@dataclass(frozen=True)
class Prices:
    """In one currency. A photo is kept for `years`."""

    worker_hour: float
    store_gb_month: float
    database_gb_month: float
    years: float


def capacity_rows(load: Load, found: Measured, gpu_rate: float | None) -> Iterator[tuple[str, str]]:
    """Arrivals and workers."""
    yield "cases a second", f"mean {load.mean:.1f}, highest hour of a busy day {load.peak:.1f}"
    one = 1 / found.worker_seconds
    words = f"{load.workers(one):,} at {one:.3f} cases a second each"
    yield "workers on processors like this", words
    formula = f"ceil({load.peak:.1f} / ({load.utilisation:g} x cases a second of one GPU))"
    gpus = f"{load.workers(gpu_rate):,}" if gpu_rate else "not measured: --gpu-rate"
    yield "workers with a GPU each", f"{formula} = {gpus}"


def growth_rows(load: Load, found: Measured) -> Iterator[tuple[str, str]]:
    """Photos, rows and the audit chain."""
    store, rows = load.per_day * found.store_bytes, load.per_day * found.database_bytes
    yield "photo store, a case", f"{found.store_bytes / 1e6:.2f} MB"
    yield "photo store, a year", f"{store * DAYS_A_YEAR / TB:,.0f} TB"
    yield "objects, a year", f"{3 * load.per_day * DAYS_A_YEAR / 1e9:.2f} thousand millions"
    yield "bytes a second to the store", f"{load.peak * found.store_bytes / 1e6:.0f} MB at the peak"
    yield "database, a case", f"{found.database_bytes / 1000:.1f} kB"
    month = rows * DAYS_A_YEAR / MONTHS_A_YEAR
    yield "database, a month's partition", f"{month / GB:,.0f} GB"
    yield "database, a year", f"{rows * DAYS_A_YEAR / TB:.1f} TB"
    needed, best = load.peak * found.audit_entries, max(found.audit_appends.values())
    yield "audit entries a second", f"{needed:.0f} at the peak, {found.audit_entries:g} of a case"
    for how, rate in found.audit_appends.items():
        yield f"one chain, {how}", f"{rate:.0f} entries a second"
    chains = math.ceil(needed / (load.utilisation * best))
    yield "audit chains", f"{chains}, each busy for {load.utilisation:g} of the time"


def cost_per_case(load: Load, found: Measured, gpu_rate: float | None, prices: Prices) -> float:
    """Workers for the highest hour all day long, storage for the years that it is kept."""
    workers = load.workers(gpu_rate or 1 / found.worker_seconds)
    months = prices.years * MONTHS_A_YEAR
    stored = found.store_bytes / GB * prices.store_gb_month * months
    rows = found.database_bytes / GB * prices.database_gb_month * months
    return workers * 24 * prices.worker_hour / load.per_day + stored + rows


def main() -> int:
    options = _options().parse_args()
    measured = Measured.read(json.loads(options.measured.read_text(encoding="utf-8")))
    load = Load(options.per_day, options.burst, options.utilisation)
    rows = [*capacity_rows(load, measured, options.gpu_rate), *growth_rows(load, measured)]
    if options.prices:
        cost = cost_per_case(load, measured, options.gpu_rate, Prices(*options.prices))
        rows.append(("cost of a case", f"{cost:.5f}"))
    for name, value in rows:
        print(f"{name:42} {value}")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.scaling_plan", description=__doc__)
    add = parser.add_argument
    add("measured", type=Path)
    add("--per-day", type=float, default=1e6)
    add("--burst", type=float, default=Load.burst)
    add("--utilisation", type=float, default=Load.utilisation)
    add("--gpu-rate", type=float, help="cases a second of one worker with a GPU")
    names = ("WORKER_HOUR", "STORE_GB_MONTH", "DATABASE_GB_MONTH", "YEARS_KEPT")
    add("--prices", type=float, nargs=4, metavar=names)
    return parser


if __name__ == "__main__":
    sys.exit(main())
