"""Keeps the leases of slow work alive from a thread of its own."""

import threading
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from clinic.records import screening_queue
from clinic.records.db import DATABASE_AWAY, SessionFactory
from clinic.records.screening_queue import Claim


class Heartbeat:
    """While the block runs: extends all leases of `held` every third of their length.

    `held` are the claims by submission id; whoever ends a claim takes it out. A lease that was
    lost is not extended.
    """

    def __init__(self, sessions: SessionFactory, lease: timedelta) -> None:
        self.held: dict[str, Claim] = {}
        self._sessions = sessions
        self._lease = lease
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._lease.total_seconds() / 3):
            tokens = {one.token for one in list(self.held.values())}
            # While the database is away there are two more beats before the lease ends.
            with suppress(*DATABASE_AWAY), self._sessions() as session, session.begin():
                screening_queue.extend_leases(session, tokens, self._lease)
