"""A model of the clinic's two queues, event by event: the computer's analysis, then the readers.

Pure: nothing is read and nothing printed; one seed gives one result. Times are seconds from the
midnight that starts the first day. Analysis is first come, first served; readers take the most
urgent case first and, of those, the one that is due first, as the review queue does.

The closed forms that tests hold it against are those of Kleinrock, Queueing Systems I (1975).
"""

import math
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from clinic.due_time import Clock, ServiceTimes
from clinic.urgency import ORDER, place_of
from ml.triage import Urgency
from tools.arrivals import DAY, HOUR, Seconds

START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Duration:
    """How long work takes: `fixed` for a batch and `each` for a case, in seconds.

    `variation` is the coefficient of variation of a gamma distribution: 0 is always the mean,
    1 is exponential.
    """

    each: float
    fixed: float = 0.0
    variation: float = 0.0

    def mean(self, cases: int) -> float:
        return self.fixed + self.each * cases

    def draw(self, random: np.random.Generator, cases: int) -> float:
        if self.variation == 0:
            return self.mean(cases)
        shape = self.variation**-2
        return float(random.gamma(shape, self.mean(cases) / shape))


@dataclass(frozen=True)
class Outage:
    """A time in which a share of the workers takes no case."""

    start_hour: float
    hours: float
    share: float = 1.0


@dataclass(frozen=True)
class Analysis:
    """The workers. `wake_seconds` is the way of a hint to an idle one.

    A worker that dies (`losses_per_hour` of its working time) leaves its batch to the lease's end.
    """

    workers: int
    duration: Duration
    batch: int = 1
    wake_seconds: float = 0.0
    losses_per_hour: float = 0.0
    lease_seconds: float = 120.0
    restart_seconds: float = 30.0
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True)
class Review:
    """The readers: they work between two hours of every working day."""

    readers: int
    duration: Duration
    from_hour: float = 9.0
    to_hour: float = 17.0
    shares: tuple[float, ...] = (0.1, 0.3, 0.6)  # urgent, suspicious, routine


@dataclass(frozen=True)
class Outcome:
    """For each case, in order of arrival, its moments in seconds; NaN for what did not happen."""

    received: Seconds
    started: Seconds
    analysed: Seconds
    urgency: NDArray[np.int_]
    signed: Seconds
    due: Seconds
    end: float

    def waits(self) -> Seconds:
        """Seconds until a worker began with the case."""
        return _known(self.started - self.received)

    def latencies(self) -> Seconds:
        """Seconds until the computer's result was stored."""
        return _known(self.analysed - self.received)

    def largest_backlog(self) -> int:
        """The most cases that waited for a worker at one moment."""
        begun = np.where(np.isnan(self.started), np.inf, self.started)
        changes = np.concatenate([self.received, begun])
        steps = np.concatenate([np.ones_like(begun), -np.ones_like(begun)])
        order = np.lexsort((-steps, changes))
        return int(np.max(np.cumsum(steps[order]), initial=0))

    def unanalysed(self) -> int:
        return int(np.sum(np.isnan(self.analysed)))

    def unsigned(self) -> int:
        return int(np.sum(np.isnan(self.signed)))

    def breaches(self, urgency: Urgency) -> tuple[int, int]:
        """(signed or still open after the limit, all whose limit has come) of this urgency."""
        mine = (self.urgency == place_of(urgency)) & (self.due <= self.end)
        finished = np.where(np.isnan(self.signed), np.inf, self.signed)
        return int(np.sum(mine & (finished > self.due))), int(np.sum(mine))


def simulate(
    analysis: Analysis, review: Review | None, received: Seconds, *, end: float, seed: int
) -> Outcome:
    """Run both queues over these arrivals (seconds, ascending) until `end`."""
    return _Clinic(analysis, review, received, np.random.default_rng(seed)).run(end)


def workers_needed(
    analysis: Analysis, received: Seconds, *, end: float, target_p95: float, seed: int
) -> int:
    """The smallest number of workers whose 95th percentile of latency is within `target_p95`.

    Raises:
        ValueError: one case alone takes longer.

    """
    if analysis.wake_seconds + analysis.duration.mean(1) > target_p95:
        raise ValueError("One case alone takes longer than the target.")

    def good(workers: int) -> bool:
        several = replace(analysis, workers=workers)
        outcome = simulate(several, None, received, end=end, seed=seed)
        late = outcome.unanalysed() > 0.05 * len(received)
        return not late and float(np.percentile(outcome.latencies(), 95)) <= target_p95

    seconds_each = analysis.duration.mean(analysis.batch) / analysis.batch
    enough = max(1, math.floor(len(received) / end * seconds_each))
    while not good(enough):
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if good(middle) else (enough, middle)
    return enough


class _Clinic:
    """The moving parts of one simulation."""

    def __init__(
        self,
        analysis: Analysis,
        review: Review | None,
        received: Seconds,
        random: np.random.Generator,
    ) -> None:
        self.analysis, self.review, self.random = analysis, review, random
        self.received = received
        self.started, self.analysed, self.signed = (
            np.full(len(received), np.nan) for _ in range(3)
        )
        shares = review.shares if review else (1.0, 0.0, 0.0)
        self.urgency = random.choice(len(ORDER), len(received), p=shares)
        self.due = np.array(
            [_due(place, second) for place, second in zip(self.urgency, received, strict=True)]
        )
        self.clock = simpy.Environment()
        self.to_analyse: deque[int] = deque()
        self.idle: dict[int, simpy.Event] = {}
        self.to_review: simpy.PriorityStore = simpy.PriorityStore(self.clock)

    def run(self, end: float) -> Outcome:
        self.clock.process(self._arrive())
        for number in range(self.analysis.workers):
            self.clock.process(self._work(number))
        for outage in self.analysis.outages:
            self.clock.process(self._end(outage))
        for _ in range(self.review.readers if self.review else 0):
            self.clock.process(self._read())
        self.clock.run(until=end)
        return Outcome(
            self.received, self.started, self.analysed, self.urgency, self.signed, self.due, end
        )

    def _arrive(self) -> Process:
        for case, second in enumerate(self.received):
            yield self.clock.timeout(second - self.clock.now)
            self.to_analyse.append(case)
            self._wake_one()

    def _work(self, number: int) -> Process:
        analysis, clock = self.analysis, self.clock
        while True:
            away = self._outage_left(number)
            if away > 0:
                self._wake_one()
                yield clock.timeout(away)
            if not self.to_analyse:
                self.idle[number] = clock.event()
                yield self.idle[number]
                yield clock.timeout(analysis.wake_seconds)
                continue
            size = min(analysis.batch, len(self.to_analyse))
            yield from self._analyse([self.to_analyse.popleft() for _ in range(size)])

    def _analyse(self, batch: list[int]) -> Process:
        analysis, clock = self.analysis, self.clock
        self.started[batch] = clock.now
        seconds, dies_after = analysis.duration.draw(self.random, len(batch)), self._dies_after()
        yield clock.timeout(min(seconds, dies_after))
        if dies_after < seconds:
            clock.process(self._free(batch))
            yield clock.timeout(analysis.restart_seconds)
            return
        self.analysed[batch] = clock.now
        for case in batch:
            order = (int(self.urgency[case]), self.due[case])
            self.to_review.put(simpy.PriorityItem(order, case))

    def _dies_after(self) -> float:
        losses = self.analysis.losses_per_hour
        return self.random.exponential(HOUR / losses) if losses else math.inf

    def _free(self, batch: list[int]) -> Process:
        """The lease of a dead worker ends, and its cases wait again."""
        yield self.clock.timeout(self.analysis.lease_seconds)
        for case in batch:
            self.to_analyse.append(case)
            self._wake_one()

    def _wake_one(self) -> None:
        """A hint reaches one idle worker that is there."""
        for number in self.idle:
            if self._outage_left(number) == 0:
                self.idle.pop(number).succeed()
                return

    def _end(self, outage: Outage) -> Process:
        yield self.clock.timeout((outage.start_hour + outage.hours) * HOUR)
        for _ in range(len(self.to_analyse)):
            self._wake_one()

    def _outage_left(self, number: int) -> float:
        """Seconds until this worker may take a case again."""
        hour = self.clock.now / HOUR
        ends = [
            one.start_hour + one.hours
            for one in self.analysis.outages
            if 0 <= hour - one.start_hour < one.hours and number < one.share * self.analysis.workers
        ]
        return max([end * HOUR - self.clock.now for end in ends], default=0.0)

    def _read(self) -> Process:
        if self.review is None:
            return
        while True:
            yield self.clock.timeout(_until_shift(self.clock.now, self.review))
            item = yield self.to_review.get()
            away = _until_shift(self.clock.now, self.review)
            if away > 0:  # it came in the evening: whoever is first in the morning takes the first
                self.to_review.put(item)
                continue
            yield self.clock.timeout(self.review.duration.draw(self.random, 1))
            self.signed[item.item] = self.clock.now


def _until_shift(second: float, review: Review) -> float:
    """Seconds until readers work: 0 while they do."""
    for moment in _shifts(second, review):
        if second < moment + (review.to_hour - review.from_hour) * HOUR:
            return max(0.0, moment - second)
    raise LookupError("no week is without a working day")


def _shifts(second: float, review: Review) -> Iterator[float]:
    """When the shifts begin, from the one of this day on."""
    today = int(second // DAY)
    for day in range(today, today + 8):
        if (START + timedelta(days=day)).weekday() < 5:
            yield day * DAY + review.from_hour * HOUR


def _due(place: int, second: float) -> float:
    """When a case of this urgency is due, by the service clock, in seconds."""
    day = second // DAY
    return _due_of_day(place, int(day)) + (second - day * DAY if _works(int(day)) else 0.0)


@cache
def _due_of_day(place: int, day: int) -> float:
    limit = ServiceTimes().due_at(Clock(ORDER[place]), start=START + timedelta(days=day))
    return (limit - START).total_seconds()


def _works(day: int) -> bool:
    return (START + timedelta(days=day)).weekday() < 5


def _known(values: Seconds) -> Seconds:
    known: Seconds = values[~np.isnan(values)]
    return known
