"""Notices a worker that lives but does not move, which a supervisor takes for healthy.

A frozen child, a stuck consumer and a blocked call look alike from here: work waits, and the sign
of progress stays the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from clinic.records import screening_queue
from clinic.records.db import DATABASE_AWAY, SessionFactory
from worker.progress import ProgressFile, Sign


@dataclass(frozen=True)
class Watchdog:
    """Lives in the worker's parent process; `patience_seconds` is one lease."""

    sessions: SessionFactory
    progress: ProgressFile
    patience_seconds: float

    def run(self, end_process: Callable[[], None]) -> None:
        """Look again and again; call `end_process` when nothing has moved for too long."""
        seen: Sign | None = None
        since = time.monotonic()
        while True:
            time.sleep(self.patience_seconds / 10)
            sign = self._sign_of_waiting_work()
            if sign is None or sign != seen:
                seen, since = sign, time.monotonic()
            elif time.monotonic() - since > self.patience_seconds:
                return end_process()

    def _sign_of_waiting_work(self) -> Sign | None:
        """The child's last sign, if it has work in hand or work waits for it; else None."""
        sign = self.progress.read()
        return sign if sign is not None and (sign.busy or self._hints_are_waiting()) else None

    def _hints_are_waiting(self) -> bool:
        try:
            with self.sessions() as session:
                return screening_queue.hints_are_waiting(session)
        except DATABASE_AWAY:
            return False  # nobody can work, and no restart would help
