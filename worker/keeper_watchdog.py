"""Notices a keeper that lives but answers nobody any more, though broker and database are well.

After a broker was frozen, its client may wait for ever on a connection that nobody serves.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from clinic.records import key_requests
from clinic.records.db import DATABASE_AWAY, SessionFactory

PATIENCE_SECONDS = 15
LOOK_EVERY_SECONDS = 1.0


@dataclass
class KeeperWatchdog:
    """Lives in a thread of the keeper; `note_answer` is called after each piece of work."""

    sessions: SessionFactory
    broker_takes_hints: Callable[[], bool]
    answers: int = 0

    def note_answer(self) -> None:
        self.answers += 1

    def run(self, end_process: Callable[[], None]) -> None:
        """Look again and again; call `end_process` when requests have waited in vain too long."""
        seen, in_vain = self.answers, 0
        while True:
            time.sleep(LOOK_EVERY_SECONDS)
            if self.answers != seen:
                seen, in_vain = self.answers, 0
            elif self._somebody_waits():
                in_vain += 1
            if in_vain > PATIENCE_SECONDS:
                return end_process()

    def _somebody_waits(self) -> bool:
        try:
            with self.sessions() as session:
                return key_requests.any_waiting(session) and self.broker_takes_hints()
        except DATABASE_AWAY:
            return False  # nobody can work, and no restart would help
