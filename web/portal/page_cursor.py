"""Where a page of a list ended, as text for the address of the next page."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from flask import abort, request

_ID: Final = re.compile(r"[0-9a-f]{32}\Z")


def to_text(place: list[Any]) -> str:
    """`place`: numbers, then a moment, then the id of the last row."""
    *numbers, moment, row_id = place
    return base64.urlsafe_b64encode(
        json.dumps([*numbers, moment.isoformat(), row_id]).encode()
    ).decode()


def asked(*, back: str, ranges: tuple[range, ...] = ()) -> list[Any] | None:
    """The place that the address names after `to_text`; None for the first page.

    Each number must lie in its range. 400 otherwise, with the way `back` to the list's beginning.
    """
    text = request.args.get("after")
    if not text:
        return None
    try:
        return _from_text(text, ranges)
    except (ValueError, TypeError, OverflowError, RecursionError):
        abort(400, f"This page of the list does not exist. Start again from {back}.")


def _from_text(text: str, ranges: tuple[range, ...]) -> list[Any]:
    *numbers, moment, row_id = json.loads(base64.urlsafe_b64decode(text))
    fits = len(numbers) == len(ranges) and all(map(range.__contains__, ranges, numbers))
    if not fits or not _ID.match(row_id):
        raise ValueError(text)
    at = datetime.fromisoformat(moment).astimezone(UTC)
    return [*map(int, numbers), at, row_id]
