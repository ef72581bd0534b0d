"""An installation with backups for tests: where it lies, how it is backed up and brought back."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from clinic.erasure_ledger import ErasureLedger
from clinic.records.audit_log import Auditor
from clinic.records.backup import Backup, BackupFolder
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.db import every_clinic_sessions, make_engine
from clinic.records.erasure import Erased
from clinic.records.restore import Restore, Restored
from clinic.records.table_dump import snapshot
from clinic.sealed_part import new_identity
from tests.sources import ROOT
from tests.world import Person, World
from web.schema import SCHEMA, newest_revision

IDENTITY, RECIPIENT = new_identity()
AUDIT_KEY = b"a" * 32


def mark_as_newest(engine: Engine) -> None:
    """Tables that were made from the models are of the newest version."""
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        context.stamp(ScriptDirectory(str(ROOT / "migrations")), "head")


@dataclass(frozen=True)
class Vault:
    """What lies outside the database: ledger and backups."""

    folder: Path

    @property
    def ledger(self) -> ErasureLedger:
        return ErasureLedger(self.folder / "erasures.jsonl", AUDIT_KEY)

    @property
    def backups(self) -> BackupFolder:
        return BackupFolder(self.folder / "backups", AUDIT_KEY)

    def backup(self, world: World, database_url: str, **changed: object) -> Backup:
        made = Backup(
            sessions=world.sessions,
            snapshot=partial(snapshot, database_url),
            revision_of=newest_revision,
            blobs=world.blobs,
            ledger=self.ledger,
            auditor=world.auditor,
            target=self.backups,
            recipient=RECIPIENT,
            keep=timedelta(days=30),
        )
        return replace(made, **changed)  # type: ignore[arg-type]

    def erase(self, world: World, person: Person) -> Erased | None:
        eraser = replace(world.eraser, ledger=self.ledger)
        return eraser.erase(person.patient_id or "", actor="command line")

    def restore(
        self,
        database_url: str,
        folder: Path,
        *,
        name: str | None = None,
        identity: str = IDENTITY,
        newest: ErasureLedger | None = None,
    ) -> Restored:
        """Into the empty database at this address, and the photo store in `folder`."""
        engine = make_engine(database_url)
        restore = Restore(
            engine=engine,
            blobs=FolderBlobStore(folder / "blobs"),
            ledger=ErasureLedger(folder / "erasures.jsonl", AUDIT_KEY),
            auditor=Auditor(AUDIT_KEY),
            source=self.backups,
            schema=SCHEMA,
        )
        try:
            return restore.run(name, identity=identity, newest=newest)
        finally:
            engine.dispose()


def over(world: World, database_url: str, folder: Path) -> World:
    """The same cast and keys over another database and photo store."""
    sessions = every_clinic_sessions(make_engine(database_url))
    keeper = replace(world.keeper, sessions=sessions)
    hints = replace(world.hints, keeper=keeper)
    store = FolderBlobStore(folder / "blobs")
    return replace(world, sessions=sessions, blobs=store, keeper=keeper, hints=hints)
