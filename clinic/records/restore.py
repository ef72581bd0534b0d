"""Bringing a backup back into an empty installation: everything, or nothing.

All of it happens in one transaction: tables of the backup's version, its rows, the migrations
since, the erasures since, the bodies, the audit entry. Whoever was erased after the backup is
erased again before anybody could read a row.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, inspect, select, table, update
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import body_digest
from clinic.erasure_ledger import ErasureLedger, ErasureRecord, extends
from clinic.records import audit_log, erasure, erasure_requests, stored_keys
from clinic.records.audit_log import Auditor
from clinic.records.backup import (
    DATABASE_FILE,
    LEDGER_FILE,
    BackupDamagedError,
    BackupFolder,
    BackupRefusedError,
)
from clinic.records.blobs import BlobExistsError, BlobStore, MissingBlobError
from clinic.records.db import database_now
from clinic.records.models import SealedObject, Submission
from clinic.records.table_dump import DumpError, TableLoader
from clinic.sealed_part import PartError, open_part
from clinic.submission import ScreeningEvent, ScreeningState, next_screening_state

ACTOR = "restore"
_VERSION_TABLE = "alembic_version"


@dataclass(frozen=True)
class Schema:
    """What a restore does with the tables' version; the migrations themselves stand elsewhere."""

    knows: Callable[[str], bool]
    remove_tables: Callable[[Connection], None]
    upgrade: Callable[[Connection, str], None]


@dataclass(frozen=True)
class Restored:
    """`erased` counts the patients that the ledger took out again.

    `master_keys` are those that the keeper needs now.
    """

    name: str
    rows: int
    bodies: int
    erased: int
    damaged: tuple[str, ...]
    master_keys: tuple[str, ...]


@dataclass(frozen=True)
class Restore:
    """The empty installation, and where backups lie."""

    engine: Engine
    blobs: BlobStore
    ledger: ErasureLedger
    auditor: Auditor
    source: BackupFolder
    schema: Schema

    def run(self, name: str | None, *, identity: str, newest: ErasureLedger | None) -> Restored:
        """Restore the backup `name`, or the newest one.

        `newest` is the newest erasure ledger there is. With None those come back who were erased
        after the backup.

        Raises:
            BackupRefusedError: this installation is not empty, or the ledger is older than the
                backup, or the backup is newer than this software.
            BackupDamagedError: a part is missing, changed or does not open. Nothing was kept.

        """
        place = self.source.place(name)
        manifest = self.source.verify(place.name)
        if not self.schema.knows(manifest.revision):
            raise BackupRefusedError(
                f"The backup's tables have the version {manifest.revision}, which is newer than "
                "this software. Install the version that made it, or a later one."
            )
        own = ErasureLedger(place / LEDGER_FILE, self.auditor.key)
        records = _checked_records(own, newest)
        self._refuse_another_ledger(records)
        with self.engine.connect() as connection, connection.begin():
            _require_empty(connection)
            self.schema.remove_tables(connection)
            self.schema.upgrade(connection, manifest.revision)
            rows = self._load(connection, place.name, identity)
            self.schema.upgrade(connection, "head")
            with Session(connection) as session:
                restored = self._complete(session, place.name, rows, records)
                session.commit()
            if not self.ledger.read():
                (newest or own).copy_to(self.ledger.path)
        return restored

    def _refuse_another_ledger(self, records: list[ErasureRecord]) -> None:
        if self.ledger.read() not in ([], records):
            raise BackupRefusedError(
                f"This installation has another erasure ledger at {self.ledger.path}. If it is "
                "the newest one, give it to this command; if not, move it away."
            )

    def _load(self, connection: Connection, name: str, identity: str) -> int:
        loader = TableLoader(connection)
        try:
            open_part(self.source.place(name) / DATABASE_FILE, loader, identity=identity)
            return loader.finish()
        except (PartError, DumpError) as error:
            raise BackupDamagedError(str(error)) from error

    def _complete(
        self, session: Session, name: str, rows: int, records: list[ErasureRecord]
    ) -> Restored:
        problem = audit_log.verify(session, self.auditor.key)
        if problem is not None:
            raise BackupDamagedError(f"The audit chain of the backup does not hold: {problem}")
        erased = [self._erase_again(session, record.patient_id) for record in records]
        _resume(session)
        damaged = self.source.manifest(name).damaged
        bodies = self._copy_bodies(session, frozenset(damaged))
        master_keys = tuple(sorted(stored_keys.by_master_key(session)))
        restored = Restored(name, rows, bodies, sum(erased), damaged, master_keys)
        detail = f"{name}: {rows} rows, {bodies} bodies, {restored.erased} patients erased again"
        self.auditor.record(session, AuditAction.BACKUP_RESTORED, ACTOR, detail=detail)
        return restored

    def _erase_again(self, session: Session, patient_id: str) -> bool:
        gone = erasure.erase_rows(session, self.auditor, patient_id=patient_id, actor=ACTOR)
        erasure_requests.forget_answered(session, patient_id)
        return gone is not None

    def _copy_bodies(self, session: Session, damaged: frozenset[str]) -> int:
        """Give every row its body; one that lies there already is kept if it is the right one."""
        query = select(SealedObject.id, SealedObject.body_sha256)
        count = 0
        for object_id, digest in session.execute(query.where(SealedObject.body.is_(None))):
            if object_id not in damaged:
                self._copy_body(object_id, digest)
                count += 1
        return count

    def _copy_body(self, object_id: str, digest: str) -> None:
        try:
            body = self.source.bodies.get(object_id)
        except MissingBlobError as error:
            raise BackupDamagedError(
                f"The body of object {object_id} is not in the backup. It may be of a patient who "
                "was erased since: give the newest erasure ledger."
            ) from error
        if body_digest(body) != digest:
            raise BackupDamagedError(f"The body of object {object_id} was changed.")
        try:
            self.blobs.put(object_id, body)
        except BlobExistsError as error:
            if body_digest(self.blobs.get(object_id)) != digest:
                raise BackupRefusedError(
                    f"The photo store has another body of object {object_id}: empty it first."
                ) from error


def _checked_records(own: ErasureLedger, newest: ErasureLedger | None) -> list[ErasureRecord]:
    """The erasures to apply; a ledger that is older than the backup's own is refused."""
    known = own.read()
    if newest is None:
        return known
    records = newest.read()
    if not extends(records, known):
        raise BackupRefusedError(
            f"The erasure ledger {newest.path} is older than the one in the backup, or of another "
            "installation. Give the newest one."
        )
    return records


def _require_empty(connection: Connection) -> None:
    for name in inspect(connection).get_table_names():
        rows = select(func.count()).select_from(table(name))
        if name != _VERSION_TABLE and connection.scalar(rows):
            raise BackupRefusedError(
                f"This installation is not empty: the table {name} has rows. Restore into a new "
                "database, or drop this one first."
            )


def _resume(session: Session) -> None:
    """Cases that were queued or running go on; nobody holds them, and their wait starts anew."""
    now = database_now(session)
    running = Submission.screening_state == ScreeningState.RUNNING
    back = next_screening_state(ScreeningState.RUNNING, ScreeningEvent.GIVE_BACK)
    free = {"token": None, "lease_until": None, "attempt": Submission.attempt - 1}
    session.execute(update(Submission).where(running).values(screening_state=back, **free))
    queued = Submission.screening_state == ScreeningState.QUEUED
    due = {"hinted_at": None, "queued_at": now, "not_before": now}
    session.execute(update(Submission).where(queued).values(**due))
