"""The model of the queue beside the real system: one seeded stream of sealed cases through both.

The real programs run here on PostgreSQL and Valkey, with the bundle in service and one worker. From
the run the model takes the moments of arrival, the worker's time for a case (mean and variation)
and a hint's way to an idle worker. How long cases wait, the model has to say: that is compared.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from clinic.records.models import ScreeningResult, Submission
from tools.arrivals import DAY, HOUR, Arrivals, Burst, Seconds
from tools.installation import ROOT, Installation
from tools.lesion_drawing import draw_lesion
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.running import Running, started
from tools.sealed_cases import CaseSender, as_jpeg
from tools.simulation import Analysis, Duration, simulate

SEED = 20261123
WARM_UP, IN_A_ROW = 3, 12
STREAM_SECONDS = 70.0
LOAD = 0.5  # of what one worker does in a row, and twice as much for a fifth of the time
REPEATS = 50
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Passage:
    """When a case was received and when its result was stored, in seconds since 1970."""

    received: float
    analysed: float


def main() -> None:
    found = run()
    sys.stdout.write(f"{'':20}{'measured':>10}{'simulated':>11}{'difference':>12}\n")
    for name, measured in found["measured"].items():
        row = f"{name:20}{measured:>10.3f}{found['simulated'][name]:>11.3f}"
        sys.stdout.write(f"{row}{found['difference'][name]:>12.1%}\n")
    sys.stdout.write(json.dumps(found) + "\n")


def run(*, seed: int = SEED, seconds: float = STREAM_SECONDS) -> dict[str, Any]:
    """Measure, simulate, compare; differences are relative to what was measured."""
    photo = as_jpeg(draw_lesion(5))
    with _running() as running:
        sender = CaseSender.of(running.installation, photo)
        _sent(running, sender, np.arange(0.0, WARM_UP))
        in_a_row = figures(_sent(running, sender, np.zeros(IN_A_ROW)))["cases_per_second"]
        passages = _sent(running, sender, stream(LOAD * in_a_row, seconds, seed))
    model = model_of(passages)
    measured = figures(passages)
    simulated = simulated_figures(model, [one.received for one in passages], seed=seed)
    return {
        "benchmark": "simulation beside a real run (PostgreSQL, Valkey, 1 worker)",
        "cases": len(passages),
        "cases_per_second_in_a_row": in_a_row,
        "seconds_each": round(model.duration.each, 4),
        "variation": round(model.duration.variation, 3),
        "wake_seconds": round(model.wake_seconds, 4),
        "measured": measured,
        "simulated": simulated,
        "difference": {
            name: round(simulated[name] / value - 1, 3) for name, value in measured.items()
        },
    }


def stream(rate: float, seconds: float, seed: int) -> Seconds:
    """Moments of a Poisson stream of `rate` a second, with a burst in the middle."""
    hours = seconds / HOUR
    burst = Burst(start_hour=0.4 * hours, hours=0.2 * hours, factor=2.0)
    arrivals = Arrivals(rate * DAY, bursts=(burst,))
    return arrivals.draw(np.random.default_rng(seed), seconds / DAY)


def model_of(passages: Sequence[Passage]) -> Analysis:
    """One worker as it was in this run: its time for a case, and a hint's way to it.

    A result that follows another while its case was waiting took the worker the time between the
    two. What a case that found the worker idle took beyond that was the way of its hint.
    """
    in_order = sorted(passages, key=lambda one: one.analysed)
    pairs = list(pairwise(in_order))
    busy = [after.analysed - one.analysed for one, after in pairs if after.received < one.analysed]
    idle = [
        after.analysed - after.received for one, after in pairs if after.received > one.analysed
    ]
    mean = statistics.fmean(busy)
    duration = Duration(mean, variation=statistics.stdev(busy) / mean)
    return Analysis(1, duration, wake_seconds=max(0.0, statistics.fmean(idle) - mean))


def figures(passages: Sequence[Passage]) -> dict[str, float]:
    """Latency in seconds, and cases a second from the first arrival to the last result."""
    received = np.array([one.received for one in passages])
    analysed = np.array([one.analysed for one in passages])
    p50, p95 = np.percentile(analysed - received, (50, 95))
    return {
        "latency_mean": round(float(np.mean(analysed - received)), 4),
        "latency_p50": round(float(p50), 4),
        "latency_p95": round(float(p95), 4),
        "cases_per_second": round(len(passages) / (analysed.max() - received.min()), 4),
    }


def simulated_figures(model: Analysis, received: Sequence[float], *, seed: int) -> dict[str, float]:
    """The same figures of the model, each the mean of many runs over these arrivals."""
    moments = np.sort(np.array(received)) - min(received)
    runs = []
    for repeat in range(REPEATS):
        outcome = simulate(model, None, moments, end=DAY, seed=seed + repeat)
        pairs = zip(outcome.received, outcome.analysed, strict=True)
        runs.append(figures([Passage(*pair) for pair in pairs]))
    return {name: round(statistics.mean(one[name] for one in runs), 4) for name in runs[0]}


@contextmanager
def _running() -> Iterator[Running]:
    with PostgresServer.started() as server, tempfile.TemporaryDirectory() as folder:
        weights = ROOT / "ml" / "weights"
        installation = Installation(
            Path(folder), free_port(), free_port(), weights, server.fresh_database()
        )
        try:
            with started(installation) as running:
                yield running
        finally:
            installation.engine.dispose()


def _sent(running: Running, sender: CaseSender, moments: Seconds) -> list[Passage]:
    """Send a case at each of these moments from now on; wait until all are analysed."""
    start = time.monotonic()
    cases = []
    for moment in moments:
        time.sleep(max(0.0, start + moment - time.monotonic()))
        cases.append(sender.send())
    _until(lambda: len(_passages(sender, cases)) == len(cases), running)
    return _passages(sender, cases)


def _until(condition: Callable[[], bool], running: Running) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        running.supervisor.watch()
        if time.monotonic() > give_up_at:
            raise TimeoutError("The worker did not analyse all cases.")
        time.sleep(0.2)


def _passages(sender: CaseSender, cases: Sequence[str]) -> list[Passage]:
    query = (
        select(Submission.received_at, ScreeningResult.finished_at)
        .join(ScreeningResult, ScreeningResult.submission_id == Submission.id)
        .where(Submission.id.in_(cases))
        .order_by(Submission.received_at)
    )
    with sender.sessions() as session:
        rows = session.execute(query).all()
    return [Passage(received.timestamp(), finished.timestamp()) for received, finished in rows]
