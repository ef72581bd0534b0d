from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinic.due_time import (
    WORKING_DAYS,
    Clock,
    ServiceTimes,
    add_working_time,
    is_working_day,
    working_time,
)

MONDAY_10 = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
FRIDAY_15 = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
SATURDAY_9 = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)

STARTS = st.integers(0, 2 * 365 * 24).map(lambda hours: MONDAY_10 + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("clock", "due"),
    [
        (Clock.URGENT, datetime(2026, 11, 24, 10, 0, tzinfo=UTC)),
        (Clock.RETAKE, datetime(2026, 11, 24, 10, 0, tzinfo=UTC)),
        (Clock.TOLD, datetime(2026, 11, 24, 10, 0, tzinfo=UTC)),
        (Clock.SUSPICIOUS, datetime(2026, 11, 25, 10, 0, tzinfo=UTC)),
        (Clock.ROUTINE, datetime(2026, 11, 30, 10, 0, tzinfo=UTC)),
    ],
)
def test_each_urgency_has_its_limit_in_working_days(clock: Clock, due: datetime) -> None:
    assert ServiceTimes().due_at(clock, start=MONDAY_10) == due


def test_every_clock_has_a_limit() -> None:
    assert set(WORKING_DAYS) == set(Clock)


def test_an_urgent_case_of_friday_afternoon_is_due_on_monday_afternoon() -> None:
    assert ServiceTimes().due_at(Clock.URGENT, start=FRIDAY_15) == datetime(
        2026, 11, 30, 15, 0, tzinfo=UTC
    )


def test_a_case_of_the_weekend_starts_at_mondays_midnight() -> None:
    assert ServiceTimes().due_at(Clock.URGENT, start=SATURDAY_9) == datetime(
        2026, 12, 1, 0, 0, tzinfo=UTC
    )


def test_a_holiday_stops_the_clock() -> None:
    holidays = frozenset({date(2026, 11, 24)})

    due = ServiceTimes(holidays=holidays).due_at(Clock.URGENT, start=MONDAY_10)

    assert due == datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
    assert not is_working_day(date(2026, 11, 24), holidays=holidays)


def test_a_clinic_s_own_limit_takes_the_place_of_the_usual_one() -> None:
    times = ServiceTimes(working_days={**WORKING_DAYS, Clock.URGENT: 2})

    assert times.due_at(Clock.URGENT, start=MONDAY_10) == MONDAY_10 + timedelta(days=2)


def test_escalation_comes_at_four_fifths_of_the_working_time() -> None:
    due = ServiceTimes().due_at(Clock.ROUTINE, start=MONDAY_10)

    warns_at = ServiceTimes().warns_at(start=MONDAY_10, due=due)

    assert warns_at == datetime(2026, 11, 27, 10, 0, tzinfo=UTC)


def test_the_weekend_is_the_one_of_the_clinics_timezone() -> None:
    auckland = ZoneInfo("Pacific/Auckland")
    friday_noon_utc = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)  # already Saturday there

    due = ServiceTimes(timezone=auckland).due_at(Clock.URGENT, start=friday_noon_utc)

    assert due == datetime(2026, 12, 1, 0, 0, tzinfo=auckland).astimezone(UTC)


def test_a_day_with_a_clock_change_counts_as_one_day() -> None:
    new_york = ZoneInfo("America/New_York")
    before = datetime(2026, 10, 30, 12, 0, tzinfo=new_york)  # the change is on 1 November

    due = ServiceTimes(timezone=new_york).due_at(Clock.SUSPICIOUS, start=before)

    assert due == datetime(2026, 11, 3, 12, 0, tzinfo=new_york).astimezone(UTC)


def test_a_start_without_a_timezone_is_refused() -> None:
    naive = MONDAY_10.replace(tzinfo=None)

    with pytest.raises(ValueError, match="timezone"):
        ServiceTimes().due_at(Clock.URGENT, start=naive)


@given(start=STARTS, hours=st.integers(0, 400))
def test_a_due_time_never_falls_on_a_free_day(start: datetime, hours: int) -> None:
    due = add_working_time(start, timedelta(hours=hours))

    assert is_working_day(due.date())
    assert due >= start


@given(start=STARTS, first=st.integers(0, 200), second=st.integers(0, 200))
def test_working_time_adds_up(start: datetime, first: int, second: int) -> None:
    in_two_steps = add_working_time(
        add_working_time(start, timedelta(hours=first)), timedelta(hours=second)
    )

    assert in_two_steps == add_working_time(start, timedelta(hours=first + second))


@given(start=STARTS, hours=st.integers(0, 400))
def test_working_time_is_what_was_added(start: datetime, hours: int) -> None:
    duration = timedelta(hours=hours)

    assert working_time(start, add_working_time(start, duration)) == duration


def test_no_working_time_lies_before_the_start() -> None:
    assert working_time(MONDAY_10, MONDAY_10 - timedelta(days=3)) == timedelta()
