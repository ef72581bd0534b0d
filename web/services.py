"""The parts that views and commands work with, made once by the app factory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

from flask import current_app

from clinic.account_secrets import AccountSecrets, Passwords
from clinic.audit_event import AuditAction
from clinic.escrow import Escrow
from clinic.hints import Hints
from clinic.records import keys
from clinic.records.audit_log import Auditor
from clinic.records.backup import Backup
from clinic.records.blobs import BlobStore
from clinic.records.db import SessionFactory
from clinic.records.erasure import Eraser
from clinic.records.keeper_client import KeeperClient
from clinic.records.restore import Restore
from clinic.retention import ErasurePolicy

EXTENSION = "dermqueue"


@dataclass(frozen=True)
class AdminServices:
    """What the engineer's commands work with."""

    auditor: Auditor
    account_secrets: AccountSecrets
    passwords: Passwords


@dataclass(frozen=True, kw_only=True)
class ErasureServices(AdminServices):
    """What works where a patient may be erased too."""

    sessions: SessionFactory
    blobs: BlobStore
    eraser: Eraser
    escrow: Escrow | None = None


class KeyServices(Protocol):
    """What the commands of `flask keys` work with, in either app that has them."""

    @property
    def auditor(self) -> Auditor: ...
    @property
    def sessions(self) -> SessionFactory: ...
    @property
    def blobs(self) -> BlobStore: ...
    @property
    def escrow(self) -> Escrow | None: ...


@dataclass(frozen=True)
class BackupServices:
    """What backup and restore work with."""

    backup: Backup
    restore: Restore


@dataclass(frozen=True)
class ExportServices(AdminServices):
    """What the export of a training set works with."""

    sessions: SessionFactory
    blobs: BlobStore
    hints: Hints
    enrolment_key: bytes


@dataclass(frozen=True, kw_only=True)
class Services(ErasureServices):
    """What views work with.

    `keeper` is made at first use: each forked process enrols a key pair of its own.
    """

    hints: Hints
    root_public_key: bytes
    enrolment_key: bytes
    weights_dir: Path | None
    erasure_policy: ErasurePolicy
    is_demo: bool
    snomed: bool
    public_url: str

    @cached_property
    def keeper(self) -> KeeperClient:
        with self.sessions() as session, session.begin():
            identity = keys.enrol_process(session, self.enrolment_key, program="web")
            self.auditor.record(
                session, AuditAction.PROCESS_ENROLLED, "web", detail=f"process {identity.id}"
            )
        return KeeperClient(self.sessions, self.hints, identity)


def admin_services() -> AdminServices:
    return cast("AdminServices", current_app.extensions[EXTENSION])


def erasure_services() -> ErasureServices:
    return cast("ErasureServices", current_app.extensions[EXTENSION])


def key_services() -> KeyServices:
    return cast("KeyServices", current_app.extensions[EXTENSION])


def backup_services() -> BackupServices:
    return cast("BackupServices", current_app.extensions[EXTENSION])


def export_services() -> ExportServices:
    return cast("ExportServices", current_app.extensions[EXTENSION])


def services() -> Services:
    return cast("Services", current_app.extensions[EXTENSION])
