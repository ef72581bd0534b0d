"""Backups of database and photo store, made while everything runs.

    sets/20261123T101500.123Z/   manifest.json, database.age, bodies.tsv, erasures.jsonl
    bodies/ab/cd/...             one copy of each sealed body, shared by all sets

The database is read first, in one snapshot, the bodies after it: they are written once and never
change, so every row finds its body. A set appears whole or not at all. Bodies are copied as they
lie, sealed under their own keys; a second backup copies only new ones. A body that no row names
any more goes, and with it the last copy of an erased patient's photos.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, select

from clinic.audit_event import GENESIS, AuditAction
from clinic.backup_manifest import BackupManifest, ManifestError
from clinic.durable_files import fsync_folder, write_durably
from clinic.envelope import body_digest
from clinic.erasure_ledger import ErasureLedger, LedgerError
from clinic.records import stored_keys
from clinic.records.audit_log import Auditor
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blobs import BlobStore, MissingBlobError
from clinic.records.db import SessionFactory
from clinic.records.models import AuditEntry, AuditHead, SealedObject
from clinic.records.table_dump import dump
from clinic.sealed_part import Part, part_of, seal_part

MANIFEST_FILE = "manifest.json"
DATABASE_FILE = "database.age"
BODIES_FILE = "bodies.tsv"
LEDGER_FILE = "erasures.jsonl"
ACTOR = "backup"
_UNFINISHED = ".unfinished."


class BackupRefusedError(Exception):
    """There is no such backup, or none can be made here; the message says what to do."""


class BackupDamagedError(Exception):
    """A backup is not what it was when it was made; the message says where."""


@dataclass(frozen=True)
class BackupFolder:
    """Where backups lie, and the key that their manifests are checked with."""

    folder: Path
    audit_key: bytes = field(repr=False)

    @property
    def sets(self) -> Path:
        return self.folder / "sets"

    @property
    def bodies(self) -> FolderBlobStore:
        return FolderBlobStore(self.folder / "bodies")

    def names(self) -> list[str]:
        """The finished backups, oldest first."""
        return sorted(path.name for path in self.sets.glob("[0-9]*"))

    def place(self, name: str | None) -> Path:
        """The folder of the backup `name`, or of the newest one."""
        names = self.names()
        if not names:
            raise BackupRefusedError(f"There is no backup in {self.folder}.")
        if name is not None and name not in names:
            raise BackupRefusedError(f"There is no backup {name}; the newest one is {names[-1]}.")
        return self.sets / (name or names[-1])

    def manifest(self, name: str | None) -> BackupManifest:
        path = self.place(name) / MANIFEST_FILE
        try:
            return BackupManifest.from_json(path.read_text(encoding="utf-8"), self.audit_key)
        except (OSError, UnicodeDecodeError, ManifestError) as error:
            raise BackupDamagedError(f"{path}: {error}") from error

    def digests(self, name: str | None) -> dict[str, str]:
        """SHA-256 (hex) of each body of a backup, by object id."""
        lines = (self.place(name) / BODIES_FILE).read_text(encoding="ascii").splitlines()
        return dict(line.split("\t") for line in lines)

    def verify(self, name: str | None) -> BackupManifest:
        """Check every byte of a backup without opening it.

        A body that the newest backup does not name any more was erased since, and is not missed.

        Raises:
            BackupDamagedError: a part is missing or was changed.

        """
        manifest, place = self.manifest(name), self.place(name)
        for part in manifest.parts:
            _check_part(place / part.file, part)
        try:
            ErasureLedger(place / LEDGER_FILE, self.audit_key).read()
        except LedgerError as error:
            raise BackupDamagedError(str(error)) from error
        living = self.digests(None).keys()
        for object_id, digest in self.digests(name).items():
            if object_id in living:
                self._check_body(object_id, digest)
        return manifest

    def _check_body(self, object_id: str, digest: str) -> None:
        try:
            body = self.bodies.get(object_id)
        except MissingBlobError as error:
            raise BackupDamagedError(f"The body of object {object_id} is missing.") from error
        if body_digest(body) != digest:
            raise BackupDamagedError(f"The body of object {object_id} was changed.")


def _check_part(path: Path, expected: Part) -> None:
    try:
        found = part_of(path)
    except OSError as error:
        raise BackupDamagedError(f"{path} is missing or cannot be read.") from error
    if found != expected:
        raise BackupDamagedError(f"{path} was changed or cut, or belongs to another backup.")


@dataclass(frozen=True)
class Made:
    """What a backup did. `damaged` are objects without a usable body in the photo store."""

    name: str
    bodies: int
    copied: int
    pruned: int
    expired: int
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class StoredBody:
    """A body that a row of the snapshot names."""

    object_id: str
    digest: str


@dataclass(frozen=True)
class Backup:
    """The parts that a backup is made of. It holds no key that opens what it writes."""

    sessions: SessionFactory
    snapshot: Callable[[], AbstractContextManager[Connection]]
    revision_of: Callable[[Connection], str]
    blobs: BlobStore
    ledger: ErasureLedger
    auditor: Auditor
    target: BackupFolder
    recipient: str
    keep: timedelta

    def make(self) -> Made:
        """Make one backup, then delete what is too old and what no row names any more.

        Raises:
            BackupRefusedError: this folder belongs to another database.
            StorageFullError, OSError: the backup store did not take it; older backups stay whole.

        """
        now = datetime.now(UTC)
        self.target.sets.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_unfinished(self.target.sets)
        self._refuse_another_database()
        with TemporaryDirectory(prefix=_UNFINISHED, dir=self.target.sets) as unfinished:
            folder = Path(unfinished) / "set"
            folder.mkdir(mode=0o700)
            copy = _Copy(self, folder)
            copy.write(now)
            name = now.strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
            folder.rename(self.target.sets / name)
        fsync_folder(self.target.sets)
        expired = self._expire(before=now - self.keep)
        pruned = self._prune(copy.named)
        made = Made(name, len(copy.named), copy.copied, pruned, expired, tuple(copy.damaged))
        self._record(made)
        return made

    def _refuse_another_database(self) -> None:
        """The newest backup's last audit entry must be in this database.

        A backup of an emptied or exchanged database would otherwise prune every body.
        """
        if not self.target.names():
            return
        before = self.target.manifest(None)
        with self.sessions() as session:
            entry = session.get(AuditEntry, before.audit_sequence)
        if before.audit_sequence and (entry is None or entry.mac != before.audit_mac):
            raise BackupRefusedError(
                f"{self.target.folder} holds backups of another database, or of a later state of "
                "this one. Nothing was done. Name a new folder in DERMQUEUE_BACKUP_DIR."
            )

    def _expire(self, *, before: datetime) -> int:
        """Delete the sets that are too old, but never the newest."""
        *older, _ = self.target.names()
        old = [name for name in older if self.target.manifest(name).made_at < before]
        for name in old:
            gone = self.target.sets / (_UNFINISHED + name)
            (self.target.sets / name).rename(gone)
            shutil.rmtree(gone)
        return len(old)

    def _prune(self, named: set[str]) -> int:
        unnamed = [one for one in self.target.bodies.ids(older_than=inf) if one not in named]
        for object_id in unnamed:
            self.target.bodies.delete(object_id)
        return len(unnamed)

    def _record(self, made: Made) -> None:
        detail = (
            f"{made.name}: {made.bodies} bodies, {made.copied} new, {made.pruned} pruned, "
            f"{made.expired} old backups deleted, {len(made.damaged)} damaged"
        )
        with self.sessions() as session, session.begin():
            self.auditor.record(session, AuditAction.BACKUP_MADE, ACTOR, detail=detail)


class _Copy:
    """One set while it is written."""

    def __init__(self, backup: Backup, folder: Path) -> None:
        self._backup = backup
        self._folder = folder
        self.named: set[str] = set()
        self.damaged: list[str] = []
        self.copied = 0

    def write(self, now: datetime) -> None:
        with self._backup.snapshot() as connection:
            revision = self._backup.revision_of(connection)
            sequence, mac = _audit_head(connection)
            database = self._folder / DATABASE_FILE
            seal_part(dump(connection), database, recipient=self._backup.recipient)
            bodies = list(_stored_bodies(connection))
            master_keys = tuple(sorted(stored_keys.by_master_key(connection)))
        copied = self._copy_bodies(bodies)
        index = "".join(f"{one.object_id}\t{one.digest}\n" for one in copied)
        write_durably(self._folder / BODIES_FILE, index.encode())
        self._backup.ledger.copy_to(self._folder / LEDGER_FILE)
        manifest = BackupManifest(
            made_at=now,
            revision=revision,
            audit_sequence=sequence,
            audit_mac=mac,
            database=part_of(database),
            bodies=part_of(self._folder / BODIES_FILE),
            ledger=part_of(self._folder / LEDGER_FILE),
            damaged=tuple(self.damaged),
            master_keys=master_keys,
        )
        text = manifest.to_json(self._backup.target.audit_key)
        write_durably(self._folder / MANIFEST_FILE, text.encode())
        fsync_folder(self._folder)

    def _copy_bodies(self, bodies: Iterable[StoredBody]) -> list[StoredBody]:
        """Those that the backup store holds at the end."""
        target = self._backup.target.bodies
        there = set(target.ids(older_than=inf))
        kept = []
        for one in bodies:
            if one.object_id not in there and not self._copy_body(one):
                continue
            self.named.add(one.object_id)
            kept.append(one)
        return kept

    def _copy_body(self, one: StoredBody) -> bool:
        """False: there is no whole body, either since its row is gone by now or by damage."""
        try:
            body = self._backup.blobs.get(one.object_id)
        except MissingBlobError:
            body = b""
        if body_digest(body) == one.digest:
            self._backup.target.bodies.put(one.object_id, body)
            self.copied += 1
            return True
        with self._backup.sessions() as session:
            if session.get(SealedObject, one.object_id) is not None:
                self.damaged.append(one.object_id)
        return False


def _audit_head(connection: Connection) -> tuple[int, str]:
    row = connection.execute(select(AuditHead.sequence, AuditHead.mac)).one_or_none()
    return (row.sequence, row.mac) if row else (0, GENESIS)


def _stored_bodies(connection: Connection) -> Iterator[StoredBody]:
    query = select(SealedObject.id, SealedObject.body_sha256).where(SealedObject.body.is_(None))
    for row in connection.execute(query.order_by(SealedObject.id)):
        yield StoredBody(row.id, row.body_sha256)


def _remove_unfinished(sets: Path) -> None:
    """What a killed run left behind."""
    for path in sets.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(path)
