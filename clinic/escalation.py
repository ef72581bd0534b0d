"""When people are told that a promise to a patient is nearly broken, or broken: pure rules.

Three promises run on a case: it is read by its due time; after the signature the patient is told;
and where cancer is suspected, the patient is told within 28 days. Handing a case over, giving it
back and waiting for new photos stop none of them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from clinic.due_time import ESCALATION_SHARE, Clock, ServiceTimes

LOOK_AGAIN_WITHIN = timedelta(hours=6)  # for a move that an earlier version's program made


class Promise(StrEnum):
    READ = "read"
    TOLD = "told"
    CANCER = "cancer"


class Level(StrEnum):
    WARNING = "warning"  # 80 % of the time is used up
    BREACH = "breach"


PROMISE_WORDS = {
    Promise.READ: "Read by a dermatologist",
    Promise.TOLD: "Patient told after signing",
    Promise.CANCER: "28 days on suspected cancer",
}
STEP_WORDS = {Level.WARNING: "80 % used", Level.BREACH: "Past due"}

Step = tuple[Promise, Level]


@dataclass(frozen=True)
class CaseDates:
    """The moments of a case that its promises hang on. `due_at`: until when it is to be read."""

    received_at: datetime
    due_at: datetime
    signed_at: datetime | None
    told_by: datetime | None  # None: no cancer is suspected
    told_at: datetime | None

    @property
    def is_settled(self) -> bool:
        return self.signed_at is not None and self.told_at is not None


@dataclass(frozen=True)
class Limit:
    promise: Promise
    warns_at: datetime
    due_at: datetime


def limits(dates: CaseDates, times: ServiceTimes) -> list[Limit]:
    """The promises that run now."""
    found = []
    if dates.signed_at is None:
        warns_at = times.warns_at(start=dates.received_at, due=dates.due_at)
        found.append(Limit(Promise.READ, warns_at, dates.due_at))
    elif dates.told_at is None:
        due = times.due_at(Clock.TOLD, start=dates.signed_at)
        found.append(Limit(Promise.TOLD, times.warns_at(start=dates.signed_at, due=due), due))
    if dates.told_by is not None and dates.told_at is None:
        used = (dates.told_by - dates.received_at) * ESCALATION_SHARE
        found.append(Limit(Promise.CANCER, dates.received_at + used, dates.told_by))
    return found


def steps_to_tell(
    running: Collection[Limit], told: Collection[Step], now: datetime
) -> list[tuple[Limit, Level]]:
    """What is to be told now: of each promise its highest level, unless that was told before."""
    found = []
    for limit in running:
        if limit.due_at <= now:
            level = Level.BREACH
        elif limit.warns_at <= now:
            level = Level.WARNING
        else:
            continue
        if (limit.promise, level) not in told and (limit.promise, Level.BREACH) not in told:
            found.append((limit, level))
    return found


def next_look(dates: CaseDates, running: Collection[Limit], now: datetime) -> datetime | None:
    """When to look at the case again; None: every promise of it is settled."""
    if dates.is_settled:
        return None
    ahead = [at for limit in running for at in (limit.warns_at, limit.due_at) if at > now]
    return min([*ahead, now + LOOK_AGAIN_WITHIN])
