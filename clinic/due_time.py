"""The service clock: when a step is due, counted in working days.

Time runs only on working days, for 24 hours on each. A case that comes in on a free day starts
at the next working day's midnight, so nobody loses time to a weekend and nobody gains any.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

ESCALATION_SHARE = 0.8
_SATURDAY = 5
_ONE_DAY = timedelta(days=1)


class Clock(StrEnum):
    """What is waited for. The first three carry the names of the urgencies."""

    URGENT = "urgent"
    SUSPICIOUS = "suspicious"
    ROUTINE = "routine"
    RETAKE = "retake"


WORKING_DAYS = {Clock.URGENT: 1, Clock.SUSPICIOUS: 2, Clock.ROUTINE: 5, Clock.RETAKE: 1}


def is_working_day(day: date, *, holidays: Collection[date] = ()) -> bool:
    return day.weekday() < _SATURDAY and day not in holidays


def due_at(
    clock: Clock,
    *,
    start: datetime,
    holidays: Collection[date] = (),
    timezone: tzinfo = UTC,
) -> datetime:
    """Return the moment (UTC) at which the limit is reached; `start` must carry a timezone."""
    limit = timedelta(days=WORKING_DAYS[clock])
    return add_working_time(start, limit, holidays=holidays, timezone=timezone)


def escalates_at(
    clock: Clock,
    *,
    start: datetime,
    holidays: Collection[date] = (),
    timezone: tzinfo = UTC,
) -> datetime:
    """Return the moment (UTC) at which 80 % of the limit is used up and people are told."""
    limit = timedelta(days=WORKING_DAYS[clock]) * ESCALATION_SHARE
    return add_working_time(start, limit, holidays=holidays, timezone=timezone)


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


def years_after(moment: datetime, years: int) -> datetime:
    """The same day some years later; 29 February becomes the 28th."""
    day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
    return moment.replace(year=moment.year + years, day=day)
