"""Sets an anchor of the audit chain every few minutes, outside of the database.

Only a chain that still agrees with the anchors before gets another one: after the first that does
not, the file stays as it is, and the walk along the chain tells about it.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from clinic.audit_anchor import AnchorError, AnchorFile
from clinic.installation_key import InstallationKey, InstallationPublicKey
from clinic.records import audit_log
from clinic.records.db import DATABASE_AWAY, SessionFactory

PERIOD_SECONDS = 600.0


@dataclass(frozen=True)
class AuditAnchoring:
    sessions: SessionFactory
    file: AnchorFile
    key: InstallationKey

    def step(self) -> bool:
        """Add an anchor if the chain has grown; tell whether one was added.

        Raises:
            AnchorError: the file cannot be used.

        """
        last = self.file.last(self._public)
        with self.sessions() as session:
            anchor = audit_log.anchor_now(session)
            broken = audit_log.anchor_problem(session, [last] if last else []) is not None
        if broken or anchor.sequence == (last.sequence if last else 0):
            return False
        self.file.add(anchor, self.key)
        return True

    def problem(self) -> str | None:
        """What speaks against the chain or the file of anchors; None when they agree.

        In a chain whose links hold, the last anchor vouches for all before it.
        """
        try:
            last = self.file.last(self._public)
            with self.sessions() as session:
                if last is None or audit_log.anchor_problem(session, [last]) is None:
                    return None
                return audit_log.anchor_problem(session, self.file.read(self._public))
        except AnchorError as error:
            return str(error)

    @property
    def _public(self) -> InstallationPublicKey:
        return InstallationPublicKey.of(self.key.public)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Loop until `stopped`; what does not work now is tried again, and the walk names it."""
        while not stopped():
            with suppress(*DATABASE_AWAY, AnchorError):
                self.step()
            threading.Event().wait(PERIOD_SECONDS)
