"""The life of a submission: its states, the events that move it, and the one table of moves.

Two columns, one table each: how far the computer is (screening) and how far people are (case).
"""

from datetime import timedelta
from enum import StrEnum


class ScreeningState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"  # "AI unavailable": a human reads the case without the computer's view


class ScreeningEvent(StrEnum):
    CLAIM = "claim"
    FINISH = "finish"
    GIVE_BACK = "give back"
    GIVE_UP = "give up"
    REQUEUE = "requeue"


class CaseState(StrEnum):
    RECEIVED = "received"
    AWAITING_REVIEW = "awaiting_review"
    UNREADABLE = "unreadable"  # the patient is asked for a new photo
    SIGNED = "signed"


class CaseEvent(StrEnum):
    SCREENED = "screened"
    AI_UNAVAILABLE = "AI unavailable"
    RETAKE_REQUESTED = "retake requested"
    PHOTOS_REPLACED = "photos replaced"
    RETRY = "retry"  # an administrator sends it back to the computer
    SIGN = "sign"


class ForbiddenMoveError(Exception):
    """The event is not allowed in this state; nothing was changed."""


_SCREENING_MOVES = {
    (ScreeningState.QUEUED, ScreeningEvent.CLAIM): ScreeningState.RUNNING,
    (ScreeningState.RUNNING, ScreeningEvent.FINISH): ScreeningState.DONE,
    (ScreeningState.RUNNING, ScreeningEvent.GIVE_BACK): ScreeningState.QUEUED,
    (ScreeningState.RUNNING, ScreeningEvent.GIVE_UP): ScreeningState.DEAD,
    (ScreeningState.QUEUED, ScreeningEvent.GIVE_UP): ScreeningState.DEAD,
    (ScreeningState.DONE, ScreeningEvent.REQUEUE): ScreeningState.QUEUED,
    (ScreeningState.DEAD, ScreeningEvent.REQUEUE): ScreeningState.QUEUED,
}

_CASE_MOVES = {
    (CaseState.RECEIVED, CaseEvent.SCREENED): CaseState.AWAITING_REVIEW,
    (CaseState.RECEIVED, CaseEvent.AI_UNAVAILABLE): CaseState.AWAITING_REVIEW,
    (CaseState.RECEIVED, CaseEvent.RETAKE_REQUESTED): CaseState.UNREADABLE,
    (CaseState.AWAITING_REVIEW, CaseEvent.RETAKE_REQUESTED): CaseState.UNREADABLE,
    (CaseState.UNREADABLE, CaseEvent.PHOTOS_REPLACED): CaseState.RECEIVED,
    (CaseState.AWAITING_REVIEW, CaseEvent.RETRY): CaseState.RECEIVED,
    (CaseState.AWAITING_REVIEW, CaseEvent.SIGN): CaseState.SIGNED,
}

MAX_ATTEMPTS = 3
SHORTEST_PAUSE = timedelta(seconds=2)


def longest_pause(attempt: int) -> timedelta:
    """How long a retry may wait: doubled with each attempt; a random share of it spreads them.

    Source: full jitter, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    doublings: int = min(attempt, MAX_ATTEMPTS)
    return SHORTEST_PAUSE * (1 << doublings)


def next_screening_state(state: ScreeningState, event: ScreeningEvent) -> ScreeningState:
    """The state after `event`, or ForbiddenMoveError."""
    try:
        return _SCREENING_MOVES[state, event]
    except KeyError:
        raise ForbiddenMoveError(f"Screening is {state}: {event} is not possible.") from None


def next_case_state(state: CaseState, event: CaseEvent) -> CaseState:
    """The state after `event`, or ForbiddenMoveError."""
    try:
        return _CASE_MOVES[state, event]
    except KeyError:
        raise ForbiddenMoveError(f"The case is {state}: {event} is not possible.") from None


def source_states(event: CaseEvent) -> tuple[CaseState, ...]:
    """The states in which `event` is allowed: what a conditional UPDATE asks for."""
    return tuple(state for state, allowed in _CASE_MOVES if allowed is event)
