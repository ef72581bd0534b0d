"""Until when, and how many, messages about a case can be written."""

from datetime import UTC, datetime, timedelta

import pytest

from clinic.messaging import MOST_OF_A_CASE, OPEN_AFTER_SIGNING, Refusal, closes_at, refusal

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_case_that_is_not_signed_has_no_end() -> None:
    assert closes_at(None) is None
    assert refusal(signed_at=None, written=0, now=NOW) is None


@pytest.mark.parametrize(
    ("signed_at", "expected"),
    [
        (NOW, None),
        (NOW - OPEN_AFTER_SIGNING + SECOND, None),
        (NOW - OPEN_AFTER_SIGNING, Refusal.CLOSED),
    ],
)
def test_a_signed_case_stays_open_for_14_days(
    signed_at: datetime, expected: Refusal | None
) -> None:
    assert timedelta(days=14) == OPEN_AFTER_SIGNING
    assert refusal(signed_at=signed_at, written=0, now=NOW) is expected


def test_a_case_holds_so_many_messages_and_no_more() -> None:
    assert refusal(signed_at=None, written=MOST_OF_A_CASE - 1, now=NOW) is None
    assert refusal(signed_at=None, written=MOST_OF_A_CASE, now=NOW) is Refusal.FULL
