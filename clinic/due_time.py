"""The service clock: when a step is due, counted in working days.

Time runs only on working days, for 24 hours on each. A case that comes in on a free day starts
at the next working day's midnight, so nobody loses time to a weekend and nobody gains any.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType

ESCALATION_SHARE = 0.8
# Suspected cancer: a diagnosis or the all-clear within 28 days of the referral, weekends included
# (Faster Diagnosis Standard, NHS England, 2023).
SUSPECTED_CANCER_DAYS = 28
_SATURDAY = 5
_ONE_DAY = timedelta(days=1)


class Clock(StrEnum):
    """What is waited for. The first three carry the names of the urgencies.

    RETAKE: photos that are too poor are asked for again. TOLD: after the signature the patient
    opens the result, or is sent the letter.
    """

    URGENT = "urgent"
    SUSPICIOUS = "suspicious"
    ROUTINE = "routine"
    RETAKE = "retake"
    TOLD = "told"


WORKING_DAYS: Mapping[Clock, int] = MappingProxyType(
    {Clock.URGENT: 1, Clock.SUSPICIOUS: 2, Clock.ROUTINE: 5, Clock.RETAKE: 1, Clock.TOLD: 1}
)
LONGEST_LIMIT = 60  # working days, a quarter of a year: a longer one is a slip of the keyboard


@dataclass(frozen=True)
class ServiceTimes:
    """A clinic's limits in working days, the days on which it is closed, and its time zone."""

    working_days: Mapping[Clock, int] = field(default_factory=lambda: WORKING_DAYS)
    holidays: frozenset[date] = frozenset()
    timezone: tzinfo = UTC

    def due_at(self, clock: Clock, *, start: datetime) -> datetime:
        """Return the moment (UTC) at which the limit is reached; `start` must carry a timezone."""
        limit = timedelta(days=self.working_days[clock])
        return add_working_time(start, limit, holidays=self.holidays, timezone=self.timezone)

    def warns_at(self, *, start: datetime, due: datetime) -> datetime:
        """Return when 80 % of the working time from `start` to `due` is used up."""
        whole = working_time(start, due, holidays=self.holidays, timezone=self.timezone)
        used = whole * ESCALATION_SHARE
        return add_working_time(start, used, holidays=self.holidays, timezone=self.timezone)


def suspected_cancer_by(received_at: datetime) -> datetime:
    """Until when a patient with a suspected cancer must have been told: 28 days, of all kinds."""
    return received_at + timedelta(days=SUSPECTED_CANCER_DAYS)


def is_working_day(day: date, *, holidays: Collection[date] = ()) -> bool:
    return day.weekday() < _SATURDAY and day not in holidays


def add_working_time(
    start: datetime,
    duration: timedelta,
    *,
    holidays: Collection[date] = (),
    timezone: tzinfo = UTC,
) -> datetime:
    """Return `start` plus `duration` of working time, in UTC. Weekends are those of `timezone`."""
    if start.tzinfo is None:
        raise ValueError("The start of a clock needs a timezone.")
    # Wall time without a zone: a day with a clock change still counts as one whole day.
    moment = start.astimezone(timezone).replace(tzinfo=None)
    left = duration
    while True:
        midnight = datetime.combine(moment.date() + _ONE_DAY, time())
        if is_working_day(moment.date(), holidays=holidays):
            if left < midnight - moment:
                return (moment + left).replace(tzinfo=timezone).astimezone(UTC)
            left -= midnight - moment
        moment = midnight


def working_time(
    start: datetime,
    end: datetime,
    *,
    holidays: Collection[date] = (),
    timezone: tzinfo = UTC,
) -> timedelta:
    """Return how much working time lies between two moments; none where `end` comes first."""
    moment, last = (one.astimezone(timezone).replace(tzinfo=None) for one in (start, end))
    total = timedelta()
    while moment < last:
        midnight = min(datetime.combine(moment.date() + _ONE_DAY, time()), last)
        if is_working_day(moment.date(), holidays=holidays):
            total += midnight - moment
        moment = midnight
    return total


def years_after(moment: datetime, years: int) -> datetime:
    """The same day some years later; 29 February becomes the 28th."""
    day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
    return moment.replace(year=moment.year + years, day=day)
