"""Walks along the audit chain for ever, a slice at a time, and keeps what each whole walk found.

Where it stands is kept in memory alone: whoever can write to the database cannot make it skip.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from clinic.records import audit_log
from clinic.records.audit_log import Walk
from clinic.records.db import DATABASE_AWAY, SessionFactory

PERIOD_SECONDS = 5.0
SLICE = 1000  # entries; 200 a second, so a million take 83 minutes


def nothing_more() -> str | None:
    """Nothing outside of the database speaks against the chain."""
    return None


@dataclass
class AuditWalker:
    """`outside`: what the anchors say of a chain that holds in itself."""

    sessions: SessionFactory
    key: bytes
    walk: Walk = field(default_factory=Walk)
    outside: Callable[[], str | None] = nothing_more

    def step(self) -> None:
        """Verify one slice; at the end of a walk keep the finding and begin anew."""
        with self.sessions() as session, session.begin():
            walk = audit_log.walk_on(session, self.key, self.walk, limit=SLICE)
        if not walk.whole:
            self.walk = walk
            return
        found = replace(walk, problem=walk.problem or self.outside())
        with self.sessions() as session, session.begin():
            audit_log.keep_finding(session, found)
        self.walk = Walk()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Loop until `stopped`. A database that is away costs only time."""
        while not stopped():
            try:
                self.step()
            except DATABASE_AWAY:
                self.walk = Walk()
            threading.Event().wait(PERIOD_SECONDS)
