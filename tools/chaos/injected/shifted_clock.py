"""In any program: its clock is wrong by the seconds that a file holds; the file may change."""

import datetime as dt
import time
from pathlib import Path

_true_time = time.time


def inject(shift_file: str) -> None:
    """Shift what Python says of the time of day. Clocks that only count on go on as they were."""
    shift = _Shift(Path(shift_file))

    class ShiftedDatetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "ShiftedDatetime":
            return cls.fromtimestamp(_true_time() + shift.seconds(), tz)

        @classmethod
        def utcnow(cls) -> "ShiftedDatetime":
            return cls.now(dt.UTC).replace(tzinfo=None)

    time.time = lambda: _true_time() + shift.seconds()
    dt.datetime = ShiftedDatetime  # type: ignore[misc]


class _Shift:
    def __init__(self, file: Path) -> None:
        self._file = file

    def seconds(self) -> float:
        return float(self._file.read_text(encoding="ascii"))
