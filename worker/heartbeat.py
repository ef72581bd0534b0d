"""Keeps the lease of slow work alive from a thread of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy.exc import OperationalError

from clinic.records import screening_queue
from clinic.records.db import SessionFactory
from clinic.records.screening_queue import Claim


@contextmanager
def heartbeat(sessions: SessionFactory, held: Claim, lease: timedelta) -> Iterator[None]:
    """Extend the lease every third of its length while the block runs, until it is lost."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease.total_seconds() / 3):
            # While the database is away there are two more beats before the lease ends.
            with suppress(OperationalError), sessions() as session, session.begin():
                if not screening_queue.extend_lease(session, held, lease):
                    return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
