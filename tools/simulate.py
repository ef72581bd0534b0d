"""Waiting, backlog, workers and broken limits, simulated: `python -m tools.simulate --help`.

`--check` runs the real system on this machine beside the model and prints both.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np

from ml.triage import Urgency
from tools import simulation_check
from tools.arrivals import DAY, Arrivals, Burst, Seconds
from tools.simulation import (
    Analysis,
    Duration,
    Outage,
    Outcome,
    Review,
    simulate,
    workers_needed,
)

# Shares of the day's cases by hour from midnight on: few at night, most in the evening. Assumed.
HOURLY = (1, 1, 1, 1, 1, 1, 2, 4, 6, 6, 6, 6, 6, 6, 5, 5, 5, 6, 8, 10, 10, 8, 4, 2)
PERCENTILES = (50, 95, 99)


def main() -> int:
    options = _options().parse_args()
    if options.check:
        simulation_check.main()
        return 0
    arrivals = Arrivals(options.per_day, HOURLY, tuple(Burst(*one) for one in options.burst))
    random = np.random.default_rng(options.seed)
    received, end = arrivals.draw(random, options.days), options.days * DAY
    analysis, review = _analysis(options), _review(options)
    outcome = simulate(analysis, review, received, end=end, seed=options.seed)
    needed = workers_needed(
        analysis, received, end=end, target_p95=options.target_seconds, seed=options.seed
    )
    _print(_about_arrivals(arrivals, received, options.days))
    _print(_about_analysis(outcome, analysis))
    _print([(f"workers for p95 within {options.target_seconds:g} s", str(needed))])
    if review is not None:
        _print(_about_review(outcome, review))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    add = parser.add_argument
    add("--check", action="store_true", help="hold the model against a real run, and end")
    add("--seed", type=int, default=1)
    add("--days", type=float, default=7.0, help="days to simulate, from a Monday on")
    add("--per-day", type=float, default=1000.0, help="cases a day")
    add("--burst", type=float, nargs=3, action="append", default=[], metavar=("AT", "FOR", "TIMES"))
    add("--workers", type=int, default=1)
    add("--batch", type=int, default=1, help="cases that a worker claims at once")
    add("--seconds-each", type=float, default=1.0, help="a worker's seconds for each case")
    add("--seconds-fixed", type=float, default=0.0, help="and for each batch")
    add("--variation", type=float, default=0.2, help="standard deviation of both by their mean")
    add("--wake-seconds", type=float, default=0.1, help="a hint's way to an idle worker")
    add("--losses-per-hour", type=float, default=0.0, help="deaths in an hour of a worker's work")
    add("--lease-seconds", type=float, default=120.0)
    add(
        "--outage", type=float, nargs=3, action="append", default=[], metavar=("AT", "FOR", "SHARE")
    )
    add("--target-seconds", type=float, default=60.0, help="p95 of received to analysed")
    add("--readers", type=int, default=0, help="dermatologists; 0 leaves the review out")
    add("--reading-minutes", type=float, default=4.0, help="of a dermatologist, for each case")
    return parser


def _analysis(options: argparse.Namespace) -> Analysis:
    return Analysis(
        options.workers,
        Duration(options.seconds_each, options.seconds_fixed, options.variation),
        batch=options.batch,
        wake_seconds=options.wake_seconds,
        losses_per_hour=options.losses_per_hour,
        lease_seconds=options.lease_seconds,
        outages=tuple(Outage(*one) for one in options.outage),
    )


def _review(options: argparse.Namespace) -> Review | None:
    if not options.readers:
        return None
    return Review(options.readers, Duration(options.reading_minutes * 60, variation=0.5))


def _about_arrivals(
    arrivals: Arrivals, received: Seconds, days: float
) -> Iterator[tuple[str, str]]:
    mean, peak = arrivals.per_day / DAY, arrivals.highest(days)
    yield "cases", f"{len(received)} in {days:g} days"
    yield "cases a second", f"mean {mean:.3f}, highest {peak:.3f} ({peak / mean:.2f} times)"


def _about_analysis(outcome: Outcome, analysis: Analysis) -> Iterator[tuple[str, str]]:
    capacity = analysis.workers * analysis.batch / analysis.duration.mean(analysis.batch)
    yield "workers", f"{analysis.workers}, together {capacity:.3f} cases a second"
    yield "until analysed", _percentiles(outcome.latencies())
    yield "of that waiting", _percentiles(outcome.waits())
    yield "largest backlog", f"{outcome.largest_backlog()} cases"
    yield "never analysed", f"{outcome.unanalysed()} cases"


def _about_review(outcome: Outcome, review: Review) -> Iterator[tuple[str, str]]:
    yield "readers", str(review.readers)
    yield "not signed at the end", f"{outcome.unsigned()} cases"
    for urgency in Urgency:
        late, known = outcome.breaches(urgency)
        share = late / known if known else 0.0
        yield f"limit broken, {urgency}", f"{late} of {known} ({share:.1%})"


def _percentiles(seconds: Seconds) -> str:
    if not len(seconds):
        return "no case"
    values = np.percentile(seconds, PERCENTILES)
    return ", ".join(
        f"p{one} {value:.2f} s" for one, value in zip(PERCENTILES, values, strict=True)
    )


def _print(rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"{name:28} {value}")


if __name__ == "__main__":
    sys.exit(main())
