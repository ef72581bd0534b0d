"""The life of a submission, state by event."""

from datetime import timedelta

import pytest

from clinic.submission import (
    MAX_ATTEMPTS,
    CaseEvent,
    CaseState,
    ForbiddenMoveError,
    ScreeningEvent,
    ScreeningState,
    longest_pause,
    next_case_state,
    next_screening_state,
    source_states,
)

# One row for each state, one column for each event; a dot is forbidden.
SCREENING = """
          CLAIM    FINISH  GIVE_BACK  GIVE_UP  REQUEUE
QUEUED    RUNNING  .       .          DEAD     .
RUNNING   .        DONE    QUEUED     DEAD     .
DONE      .        .       .          .        QUEUED
DEAD      .        .       .          .        QUEUED
"""
CASE = """
                 SCREENED         AI_UNAVAILABLE  RETAKE_REQUESTED PHOTOS_REPLACED  RETRY     SIGN
RECEIVED         AWAITING_REVIEW  AWAITING_REVIEW UNREADABLE       .                .         .
AWAITING_REVIEW  .                .               UNREADABLE       .                RECEIVED  SIGNED
UNREADABLE       .                .               .                RECEIVED         .         .
SIGNED           .                .               .                .                .         .
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    head, *rows = [line.split() for line in table.strip().splitlines()]
    return [
        (row[0], event, after) for row in rows for event, after in zip(head, row[1:], strict=True)
    ]


def test_the_tables_here_name_every_state_and_event() -> None:
    for table, states, events in (
        (SCREENING, ScreeningState, ScreeningEvent),
        (CASE, CaseState, CaseEvent),
    ):
        assert {state for state, _, _ in cells(table)} == set(states.__members__)
        assert {event for _, event, _ in cells(table)} == set(events.__members__)


@pytest.mark.parametrize(("state", "event", "after"), cells(SCREENING))
def test_screening_moves_as_the_table_says(state: str, event: str, after: str) -> None:
    if after == ".":
        with pytest.raises(ForbiddenMoveError, match=ScreeningEvent[event]):
            next_screening_state(ScreeningState[state], ScreeningEvent[event])
    else:
        found = next_screening_state(ScreeningState[state], ScreeningEvent[event])
        assert found is ScreeningState[after]


@pytest.mark.parametrize(("state", "event", "after"), cells(CASE))
def test_a_case_moves_as_the_table_says(state: str, event: str, after: str) -> None:
    if after == ".":
        with pytest.raises(ForbiddenMoveError, match=CaseEvent[event]):
            next_case_state(CaseState[state], CaseEvent[event])
    else:
        assert next_case_state(CaseState[state], CaseEvent[event]) is CaseState[after]


def test_a_signed_case_is_final() -> None:
    for event in CaseEvent:
        with pytest.raises(ForbiddenMoveError):
            next_case_state(CaseState.SIGNED, event)


@pytest.mark.parametrize("event", CaseEvent)
def test_source_states_are_those_of_the_table(event: CaseEvent) -> None:
    allowed = {
        CaseState[state]
        for state, name, after in cells(CASE)
        if CaseEvent[name] is event and after != "."
    }
    assert set(source_states(event)) == allowed
    assert allowed


def test_each_attempt_may_wait_longer_than_the_one_before() -> None:
    pauses = [longest_pause(attempt) for attempt in range(MAX_ATTEMPTS + 1)]
    assert pauses == sorted(set(pauses))
    assert timedelta(seconds=1) < pauses[0] < pauses[-1] < timedelta(minutes=1)
    assert longest_pause(99) == pauses[-1]
