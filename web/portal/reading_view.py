"""Summaries of readings as tables of words: each figure with its interval and its n."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from clinic.reading_statistics import Kappa, Share
from clinic.reading_summary import FEWEST_CASES, ReadingSummary


@dataclass(frozen=True)
class Cell:
    """A figure in words and the number of cases behind it."""

    words: str
    n: int


@dataclass(frozen=True)
class Section:
    """One table: a column for each figure, by its heading."""

    title: str
    words: str
    columns: Mapping[str, Callable[[ReadingSummary], Cell]]


def sections(summaries: Sequence[tuple[str, ReadingSummary]]) -> list[dict[str, Any]]:
    """What reading.html shows, with a row for each named summary."""
    return [
        {
            "title": one.title,
            "words": one.words,
            "columns": list(one.columns),
            "rows": [
                {
                    "name": name,
                    "n": found.n,
                    "cells": [asdict(cell(found)) for cell in one.columns.values()],
                }
                for name, found in summaries
            ],
        }
        for one in _SECTIONS
    ]


def _kappa(found: Kappa) -> Cell:
    if found.value is None or found.low is None or found.high is None or _tells_nothing(found):
        return _told("one side always said the same", found.n)
    # With 0.0 added no small negative number is shown as -0.00.
    value, low, high = (round(one, 2) + 0.0 for one in (found.value, found.low, found.high))
    return _told(f"{value:.2f} ({low:.2f} to {high:.2f})", found.n)


def _tells_nothing(found: Kappa) -> bool:
    """Where one side always said the same, kappa is 0 by itself."""
    bounds = (found.low or 0.0, found.high or 0.0)
    return all(math.isclose(one, 0.0, abs_tol=1e-9) for one in bounds)


def _share(found: Share) -> Cell:
    low, high = found.interval or (0.0, 0.0)
    share = 100 * (found.value or 0.0)
    return _told(f"{share:.0f} in 100 ({100 * low:.0f} to {100 * high:.0f})", found.n)


def _time(value: float | None, unit: str, n: int) -> Cell:
    return _told(f"{value or 0.0:.1f} {unit}", n)


def _told(words: str, n: int) -> Cell:
    """A figure of fewer than FEWEST_CASES cases is not told."""
    return Cell(words if n >= FEWEST_CASES else "too few cases", n)


_SECTIONS: Final = (
    Section(
        "Agreement",
        "Cohen's kappa with its 95 % interval: 1 is perfect agreement, 0 is what chance gives. "
        "For urgency neighbours agree in part (linear weights).",
        {
            "First read and computer": lambda one: _kappa(one.first_and_computer),
            "Final and computer": lambda one: _kappa(one.final_and_computer),
            "First read and final": lambda one: _kappa(one.first_and_final),
            "Urgency, first read and queue": lambda one: _kappa(one.urgency),
        },
    ),
    Section(
        "What the computer's view changes",
        "Shares with their 95 % intervals: overrides among all cases with a computer's view; "
        "changes among those in which the first read differed from it; the last two among those "
        "of them whose pathology is known.",
        {
            "Overrides": lambda one: _share(one.overrides),
            "Changed to the computer's class": lambda one: _share(one.to_computer),
            "From right to wrong": lambda one: _share(one.to_wrong),
            "From wrong to right": lambda one: _share(one.to_right),
        },
    ),
    Section(
        "Time",
        "From arrival to signature, and from the moment the reader opened the case to it.",
        {
            "Median": lambda one: _time(one.hours.median, "h", one.hours.n),
            "95 of 100 within": lambda one: _time(one.hours.p95, "h", one.hours.n),
            "Signed in time": lambda one: _share(one.in_time),
            "Reading, median": lambda one: _time(one.minutes.median, "min", one.minutes.n),
        },
    ),
)
