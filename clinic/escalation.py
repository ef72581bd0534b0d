"""When people are told that a promise to a patient is nearly broken, or broken: pure rules.

Promises that run on a case: it is read by its due time; after the signature the patient is told;
where cancer is suspected, the patient is told within 28 days; and a second read that holds no case
has a time of its own (one that does shares the time of its case). Handing a case over, giving it
back and waiting for new photos stop none of them.

Each version of a signed report is a signature that the patient is told of anew. The 28 days end
with the first result that the patient was told, whatever a later version says.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from clinic.due_time import ESCALATION_SHARE, Clock, ServiceTimes

LOOK_AGAIN_WITHIN = timedelta(hours=6)  # for a move that an earlier version's program made


class Promise(StrEnum):
    READ = "read"
    TOLD = "told"
    CANCER = "cancer"
    SECOND = "second"


class Level(StrEnum):
    WARNING = "warning"  # 80 % of the time is used up
    BREACH = "breach"


PROMISE_WORDS = {
    Promise.READ: "Read by a dermatologist",
    Promise.TOLD: "Patient told after signing",
    Promise.CANCER: "28 days on suspected cancer",
    Promise.SECOND: "Second read",
}
STEP_WORDS = {Level.WARNING: "80 % used", Level.BREACH: "Past due"}

Step = tuple[Promise, Level]


@dataclass(frozen=True)
class SecondReadDates:
    """Of an open second read that does not hold its case: when asked for, and until when."""

    asked_at: datetime
    due_at: datetime


@dataclass(frozen=True)
class CaseDates:
    """The moments of a case that its promises hang on. `due_at`: until when it is to be read.

    `signed_at` and `told_at` are those of the newest version of its report.
    """

    received_at: datetime
    due_at: datetime
    signed_at: datetime | None
    told_by: datetime | None  # None: no cancer is suspected
    told_at: datetime | None
    told_before: bool = False  # of an earlier version
    second_read: SecondReadDates | None = None

    @property
    def is_settled(self) -> bool:
        told = self.signed_at is not None and self.told_at is not None
        return told and self.second_read is None


@dataclass(frozen=True)
class Limit:
    """A promise that runs since `starts_at`."""

    promise: Promise
    starts_at: datetime
    warns_at: datetime
    due_at: datetime


def limits(dates: CaseDates, times: ServiceTimes) -> list[Limit]:
    """The promises that run now."""
    found = []
    if dates.signed_at is None:
        warns_at = times.warns_at(start=dates.received_at, due=dates.due_at)
        found.append(Limit(Promise.READ, dates.received_at, warns_at, dates.due_at))
    elif dates.told_at is None:
        start, due = dates.signed_at, times.due_at(Clock.TOLD, start=dates.signed_at)
        found.append(Limit(Promise.TOLD, start, times.warns_at(start=start, due=due), due))
    if dates.told_by is not None and dates.told_at is None and not dates.told_before:
        start, whole = dates.received_at, dates.told_by - dates.received_at
        warns_at = start + whole * ESCALATION_SHARE
        found.append(Limit(Promise.CANCER, start, warns_at, dates.told_by))
    if dates.second_read is not None:
        start, due = dates.second_read.asked_at, dates.second_read.due_at
        found.append(Limit(Promise.SECOND, start, times.warns_at(start=start, due=due), due))
    return found


def steps_to_tell(
    running: Collection[Limit], told: Mapping[Step, datetime], now: datetime
) -> list[tuple[Limit, Level]]:
    """What is to be told now: of each promise its highest level, unless that was told before.

    `told` holds when each step was told last; before a promise began, it was told of another one.
    """
    found = []
    for limit in running:
        if limit.due_at <= now:
            level = Level.BREACH
        elif limit.warns_at <= now:
            level = Level.WARNING
        else:
            continue
        known = (told.get((limit.promise, one)) for one in (level, Level.BREACH))
        if not any(at is not None and at >= limit.starts_at for at in known):
            found.append((limit, level))
    return found


def next_look(dates: CaseDates, running: Collection[Limit], now: datetime) -> datetime | None:
    """When to look at the case again; None: every promise of it is settled."""
    if dates.is_settled:
        return None
    ahead = [at for limit in running for at in (limit.warns_at, limit.due_at) if at > now]
    return min([*ahead, now + LOOK_AGAIN_WITHIN])
