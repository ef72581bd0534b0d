"""Which promises run on a case, and when somebody is told of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinic.due_time import Clock, ServiceTimes, suspected_cancer_by
from clinic.escalation import (
    LOOK_AGAIN_WITHIN,
    CaseDates,
    Level,
    Limit,
    Promise,
    SecondReadDates,
    Step,
    limits,
    next_look,
    steps_to_tell,
)

MONDAY_10 = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
TIMES = ServiceTimes()
ROUTINE_DUE = TIMES.due_at(Clock.ROUTINE, start=MONDAY_10)  # the next Monday at 10
FOUR_FIFTHS = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)


def dates(**changed: object) -> CaseDates:
    base = {
        "received_at": MONDAY_10,
        "due_at": ROUTINE_DUE,
        "signed_at": None,
        "told_by": None,
        "told_at": None,
    }
    return CaseDates(**{**base, **changed})  # type: ignore[arg-type]


def told_at(
    case: CaseDates, now: datetime, *, before: dict[Step, datetime] | None = None
) -> object:
    running = limits(case, TIMES)
    return [(limit.promise, level) for limit, level in steps_to_tell(running, before or {}, now)]


def test_an_unsigned_case_is_warned_of_at_four_fifths_of_its_working_time() -> None:
    assert limits(dates(), TIMES) == [Limit(Promise.READ, MONDAY_10, FOUR_FIFTHS, ROUTINE_DUE)]
    assert told_at(dates(), FOUR_FIFTHS - timedelta(seconds=1)) == []
    assert told_at(dates(), FOUR_FIFTHS) == [(Promise.READ, Level.WARNING)]
    assert told_at(dates(), ROUTINE_DUE) == [(Promise.READ, Level.BREACH)]


def test_after_the_signature_the_patient_is_to_be_told_within_a_working_day() -> None:
    friday = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
    (limit,) = limits(dates(signed_at=friday), TIMES)
    assert limit.promise is Promise.TOLD
    assert limit.due_at == datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
    # 19.2 working hours: 9 on the Friday, the rest on the Monday
    assert limit.warns_at == datetime(2026, 11, 30, 10, 12, tzinfo=UTC)


def test_a_suspected_cancer_has_28_days_of_all_kinds_until_the_patient_knows() -> None:
    by = suspected_cancer_by(MONDAY_10)
    assert by == datetime(2026, 12, 21, 10, 0, tzinfo=UTC)
    running = limits(dates(told_by=by, signed_at=MONDAY_10 + timedelta(days=1)), TIMES)
    assert [one.promise for one in running] == [Promise.TOLD, Promise.CANCER]
    assert running[1].warns_at == MONDAY_10 + timedelta(days=22, hours=9, minutes=36)
    told = MONDAY_10 + timedelta(days=2)
    assert limits(dates(told_by=by, signed_at=told, told_at=told), TIMES) == []


def test_each_step_is_told_once_and_no_warning_follows_a_breach() -> None:
    warned = {(Promise.READ, Level.WARNING): FOUR_FIFTHS}
    broken = {(Promise.READ, Level.BREACH): ROUTINE_DUE}
    assert told_at(dates(), FOUR_FIFTHS, before=warned) == []
    assert told_at(dates(), ROUTINE_DUE, before=warned) == [(Promise.READ, Level.BREACH)]
    for now in (FOUR_FIFTHS, ROUTINE_DUE):  # the clock may jump back
        assert told_at(dates(), now, before=broken) == []


def test_a_later_version_of_the_report_is_a_promise_of_its_own() -> None:
    broken = {(Promise.TOLD, Level.BREACH): MONDAY_10 + timedelta(days=2)}
    again = MONDAY_10 + timedelta(days=3)
    case = dates(signed_at=again, told_before=True)
    (limit,) = limits(case, TIMES)
    assert (limit.promise, limit.starts_at) == (Promise.TOLD, again)
    assert told_at(case, limit.warns_at, before=broken) == [(Promise.TOLD, Level.WARNING)]
    assert told_at(case, limit.due_at, before=broken) == [(Promise.TOLD, Level.BREACH)]
    broken[Promise.TOLD, Level.BREACH] = limit.due_at
    assert told_at(case, limit.due_at + timedelta(days=1), before=broken) == []


def test_the_28_days_end_with_the_first_version_that_the_patient_was_told() -> None:
    by = suspected_cancer_by(MONDAY_10)
    case = dates(told_by=by, signed_at=by + timedelta(days=1), told_before=True)
    assert [one.promise for one in limits(case, TIMES)] == [Promise.TOLD]
    untold = dates(told_by=by, signed_at=by + timedelta(days=1))
    assert [one.promise for one in limits(untold, TIMES)] == [Promise.TOLD, Promise.CANCER]


def test_an_open_second_read_has_its_time_whether_or_not_the_patient_was_told() -> None:
    read = SecondReadDates(MONDAY_10, ROUTINE_DUE)
    told = dates(signed_at=MONDAY_10, told_at=MONDAY_10, second_read=read)
    running = limits(told, TIMES)
    assert running == [Limit(Promise.SECOND, MONDAY_10, FOUR_FIFTHS, ROUTINE_DUE)]
    assert next_look(told, running, MONDAY_10) == MONDAY_10 + LOOK_AGAIN_WITHIN
    assert told_at(told, FOUR_FIFTHS) == [(Promise.SECOND, Level.WARNING)]


def test_the_next_look_is_at_the_next_limit_or_soon_until_all_is_settled() -> None:
    case = dates()
    running = limits(case, TIMES)
    assert next_look(case, running, MONDAY_10) == MONDAY_10 + LOOK_AGAIN_WITHIN
    just_before = FOUR_FIFTHS - timedelta(minutes=1)
    assert next_look(case, running, just_before) == FOUR_FIFTHS
    assert next_look(case, running, ROUTINE_DUE) == ROUTINE_DUE + LOOK_AGAIN_WITHIN
    settled = dates(signed_at=FOUR_FIFTHS, told_at=ROUTINE_DUE)
    assert next_look(settled, limits(settled, TIMES), ROUTINE_DUE) is None


@pytest.mark.parametrize("clock", [Clock.URGENT, Clock.SUSPICIOUS, Clock.ROUTINE])
@given(hours=st.integers(0, 24 * 400), step=st.integers(1, 40))
def test_however_often_it_is_looked_every_breach_is_told_exactly_once(
    clock: Clock, hours: int, step: int
) -> None:
    start = MONDAY_10 + timedelta(hours=hours)
    case = dates(received_at=start, due_at=TIMES.due_at(clock, start=start))
    running, now, told = limits(case, TIMES), start, []
    known: dict[Step, datetime] = {}
    while now <= case.due_at + timedelta(hours=2 * step):
        for limit, level in steps_to_tell(running, known, now):
            known[limit.promise, level] = now
            told.append(level)
        now += timedelta(hours=step)
    assert told.count(Level.BREACH) == 1
    assert told.count(Level.WARNING) <= 1
    assert told[-1] is Level.BREACH
