"""Messages between a patient and the reader of a case: until when, how long, how many."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

OPEN_AFTER_SIGNING: Final = timedelta(days=14)
ANSWER_WITHIN: Final = timedelta(days=2)  # of working time
LONGEST: Final = 2000  # characters
MOST_OF_A_CASE: Final = 200


class Refusal(StrEnum):
    CLOSED = "closed"
    FULL = "full"


def closes_at(signed_at: datetime | None) -> datetime | None:
    """When the last message of a case can be written; None: it is not signed, so no end is set."""
    return None if signed_at is None else signed_at + OPEN_AFTER_SIGNING


def refusal(*, signed_at: datetime | None, written: int, now: datetime) -> Refusal | None:
    """Why no further message can be written; None: it can. `written`: messages of the case."""
    end = closes_at(signed_at)
    if end is not None and now >= end:
        return Refusal.CLOSED
    return Refusal.FULL if written >= MOST_OF_A_CASE else None
