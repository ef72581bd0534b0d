"""The retention jobs: what has served its time is deleted, by the periods of clinic/retention.py.

Each rule runs in a transaction of its own and leaves one audit entry with a count. One that fails
holds none of the others up; its fault is raised at the end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, Delete, delete, exists
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from clinic import retention
from clinic.audit_event import AuditAction
from clinic.records import key_destruction
from clinic.records.audit_log import Auditor
from clinic.records.blobs import BlobStore, BlobStoreAwayError
from clinic.records.db import SessionFactory, database_now
from clinic.records.models import KeyRequest, LoginSession, ProcessKey, SealedObject, SignInLink

ACTOR = "retention"


class RetentionError(ExceptionGroup):
    """Some rules could not be applied; all the others were."""


@dataclass(frozen=True)
class Retention:
    sessions: SessionFactory
    blobs: BlobStore
    auditor: Auditor

    def apply(self) -> dict[str, int]:
        """Apply every rule once; return how many rows or bodies each one deleted.

        Raises:
            RetentionError: with the faults of the rules that failed, after all have run.

        """
        deleted: dict[str, int] = {}
        faults: list[Exception] = []
        for name, rule in self._rules().items():
            try:
                deleted[name] = rule()
            except (SQLAlchemyError, BlobStoreAwayError, OSError) as fault:
                fault.add_note(f"The retention rule for {name} was not applied.")
                faults.append(fault)
        if faults:
            raise RetentionError("Retention is not complete.", faults)
        return deleted

    def _rules(self) -> dict[str, Callable[[], int]]:
        return {
            "key requests": lambda: self._delete("key requests", _old_key_requests),
            "sign-in links": lambda: self._delete("sign-in links", _old_sign_in_links),
            "login sessions": lambda: self._delete("login sessions", _old_login_sessions),
            "process keys": lambda: self._delete("process keys", _old_process_keys),
            "epoch keys": self._destroy_epoch_keys,
            "orphaned bodies": self._sweep_bodies,
        }

    def _delete(self, name: str, old: Callable[[datetime], Delete]) -> int:
        with self.sessions() as session, session.begin():
            done = session.execute(old(database_now(session)))
            assert isinstance(done, CursorResult)  # noqa: S101 - tells the type checker what DELETE gives
            self._record(session, name, done.rowcount)
            return done.rowcount

    def _destroy_epoch_keys(self) -> int:
        """Each has an audit entry of its own, which names it."""
        with self.sessions() as session, session.begin():
            return key_destruction.destroy_due_epochs(
                session, self.auditor, kept=retention.EPOCH_KEYS, actor=ACTOR
            )

    def _sweep_bodies(self) -> int:
        """Bodies that no row names: of uploads that were never committed, and of the erased."""
        old = time.time() - retention.ORPHAN_BODIES.total_seconds()
        self.blobs.sweep_unfinished(older_than=old)
        stored = list(self.blobs.ids(older_than=old))
        with self.sessions() as session:
            orphans = [one for one in stored if session.get(SealedObject, one) is None]
        for one in orphans:
            self.blobs.delete(one)
        with self.sessions() as session, session.begin():
            self._record(session, "orphaned bodies", len(orphans))
        return len(orphans)

    def _record(self, session: Session, name: str, count: int) -> None:
        if count:
            action, detail = AuditAction.RETENTION_APPLIED, f"{count} {name} deleted"
            self.auditor.record(session, action, ACTOR, detail=detail)


def _old_key_requests(now: datetime) -> Delete:
    return delete(KeyRequest).where(KeyRequest.created_at < now - retention.KEY_REQUESTS)


def _old_sign_in_links(now: datetime) -> Delete:
    return delete(SignInLink).where(SignInLink.expires_at < now - retention.SIGN_IN_LINKS)


def _old_login_sessions(now: datetime) -> Delete:
    asked = exists().where(KeyRequest.login_session_id == LoginSession.id)
    old = LoginSession.expires_at < now - retention.LOGIN_SESSIONS
    return delete(LoginSession).where(old, ~asked)


def _old_process_keys(now: datetime) -> Delete:
    """Not those of the portal: it runs for months and gives no sign of life."""
    asked = exists().where(KeyRequest.process_id == ProcessKey.id)
    old = ProcessKey.last_seen_at < now - retention.PROCESS_KEYS
    return delete(ProcessKey).where(old, ~asked, ProcessKey.program.in_(("worker", "export")))
