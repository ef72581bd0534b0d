"""One trial of one fault: cases before, during and after it, then every standing invariant."""

import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from clinic.records.models import ScreeningResult, Submission
from tools.chaos import invariants
from tools.chaos.fault import Fault
from tools.chaos.scene import NotSurvived, Scene
from tools.portal_client import PortalError


@dataclass(frozen=True)
class Figures:
    """Counts and seconds of a trial's cases; latency is from acceptance to result."""

    cases: int
    executions: int
    latency_p50: float | None = None
    latency_p95: float | None = None
    latency_max: float | None = None

    @classmethod
    def of(cls, cases: int, executions: int, latencies: Sequence[float]) -> Self:
        if not latencies:
            return cls(cases, executions)
        longest = max(latencies)
        p95 = longest
        if len(latencies) > 1:
            p95 = statistics.quantiles(latencies, n=20, method="inclusive")[-1]
        return cls(cases, executions, statistics.median(latencies), p95, longest)


@dataclass(frozen=True)
class Outcome:
    """How a trial went. `problems` is empty when the fault was survived."""

    fault: Fault
    stack: str
    seconds_to_recover: float | None  # from the end of the fault until every case had ended
    figures: Figures
    problems: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        return not self.problems


def tried(scene: Scene, fault: Fault) -> Outcome:
    """Do a fault to a scene and say how it went."""
    scene.trial.clear()
    scene.sendings.clear()
    scene.unanswered.clear()
    recovered, found = None, []
    try:
        recovered = _endured(scene, fault)
    except NotSurvived as broken:
        found.append(str(broken))
    found += _invariants(scene)
    return Outcome(fault, scene.stack.name, recovered, figures(scene), found)


def _endured(scene: Scene, fault: Fault) -> float:
    scene.submit(fault.cases_before)
    load = scene.load(fault.load_every, fault.load_cases) if fault.load_every else nullcontext()
    with load:
        fault.inject(scene)
        over = time.monotonic()
    scene.retry()
    scene.submit(1)
    what = "not every case had ended"
    scene.until(scene.all_ended, fault.recover_seconds, what=what)
    return time.monotonic() - over


def _invariants(scene: Scene) -> list[str]:
    try:
        return invariants.problems(scene)
    except (PortalError, httpx.TransportError, OperationalError) as error:
        return [f"Not everything could be checked: {error}"]


def figures(scene: Scene) -> Figures:
    """Figures of the present trial's cases, from their rows."""
    query = (
        select(Submission.attempt, Submission.received_at, ScreeningResult.finished_at)
        .outerjoin(ScreeningResult, ScreeningResult.submission_id == Submission.id)
        .where(Submission.id.in_(list(scene.trial)))
    )
    with scene.sessions() as session:
        rows: list[Any] = list(session.execute(query))
    latencies = [(end - begin).total_seconds() for _, begin, end in rows if end is not None]
    return Figures.of(len(rows), sum(attempt for attempt, _, _ in rows), latencies)
