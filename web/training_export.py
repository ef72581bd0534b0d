"""Copying signed cases out as a training set: the folder appears whole, or not at all.

An administrator signs in for it. Each case is opened through the keeper, which decides about it
again, and each is one audit entry. A case that cannot be opened is left out, with the reason.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from sqlalchemy.orm import Session

from clinic.access import Actor, Role
from clinic.audit_event import AuditAction
from clinic.envelope import EnvelopeError
from clinic.intake import History, HistoryInvalid
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.notices import NoticeKind
from clinic.records import accounts, keys, notices, recovery_codes, research, sealed_objects
from clinic.records.blobs import MissingBlobError
from clinic.records.keeper_client import (
    KeeperClient,
    KeeperRefusedError,
    KeeperUnavailableError,
)
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import Account, SealedObject, SignedReport
from clinic.records.research import PermittedCase
from clinic.training_case import training_case
from ml.training_manifest import TrainingCase, write_proven_labels, write_training_manifest
from web.second_factor import code_is_right
from web.services import ExportServices

PROGRAM = "export"
ORIGIN = "signed cases of one clinic, of patients who permit research"


class SignInRefusedError(Exception):
    """Address, password or code is wrong, or this person is no administrator."""


class FolderTakenError(Exception):
    """The place for the export is not free; the message says why."""


class NoPictureError(Exception):
    """The case has no clean close picture."""


@dataclass(frozen=True)
class Login:
    """An administrator who signed in for one export."""

    actor: Actor
    token: str


@dataclass(frozen=True)
class LeftOut:
    submission_id: str
    reason: str


@dataclass(frozen=True)
class Exported:
    """What one run gave. Without a photo there is no folder."""

    cases: int
    photos: int
    left_out: tuple[LeftOut, ...]


def require_free(out: Path) -> None:
    """Raise FolderTakenError unless `out` can become the export's folder."""
    if not out.parent.is_dir():
        raise FolderTakenError(f"There is no folder {out.parent}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FolderTakenError(f"{out} is not empty; name a new folder.")


def sign_in(services: ExportServices, *, email: str, password: str, code: str) -> Login:
    """Open a session of an administrator, as the portal does with both factors.

    Raises:
        SignInRefusedError: it is refused and audited.

    """
    with services.sessions() as session:
        account = accounts.account_by_email(session, services.account_secrets, email)
    # Outside a transaction: hashing takes long on purpose.
    known = services.passwords.matches(_stored_hash(account), password)
    token = None
    with services.sessions() as session, session.begin():
        if account is not None and known:
            token = _begin(session, services, account, code)
        services.auditor.record(
            session,
            AuditAction.SIGN_IN_REFUSED if token is None else AuditAction.SIGNED_IN,
            account.id if account else "unknown",
            clinic_id=account.clinic_id if account else None,
            allowed=token is not None,
            detail=PROGRAM,
        )
    if account is None or token is None:
        raise SignInRefusedError
    return Login(Actor(account.id, Role.ADMINISTRATOR, account.clinic_id), token)


def _stored_hash(account: Account | None) -> str | None:
    if account is None or account.role != Role.ADMINISTRATOR or account.disabled_at is not None:
        return None
    return account.password_hash


def _begin(session: Session, services: ExportServices, account: Account, code: str) -> str | None:
    """A passkey needs a browser: who has no other factor spends a recovery code here."""
    if not code_is_right(session, services.account_secrets, account, code):
        if not recovery_codes.spend(session, account.id, code):
            return None
        notices.tell(session, account, NoticeKind.RECOVERY_CODE_USED)
    return accounts.start_login(session, account, second_factor=True)


@dataclass(frozen=True)
class TrainingExport:
    """One export for one administrator, of their clinic alone."""

    services: ExportServices
    login: Login
    keeper: KeeperClient

    @classmethod
    def start(cls, services: ExportServices, login: Login) -> Self:
        """Enrol a key pair of this process: the keeper's answers go to it alone."""
        with services.sessions() as session, session.begin():
            identity = keys.enrol_process(session, services.enrolment_key, program=PROGRAM)
            services.auditor.record(
                session, AuditAction.PROCESS_ENROLLED, PROGRAM, detail=f"process {identity.id}"
            )
        return cls(services, login, KeeperClient(services.sessions, services.hints, identity))

    def write(self, out: Path) -> Exported:
        """Copy every permitted case into the new folder `out`, and sign out.

        Raises:
            OSError: the disk did not take it; nothing is left of it.

        """
        try:
            return self._write(out)
        finally:
            self._sign_out()

    def _write(self, out: Path) -> Exported:
        with self.services.sessions() as session, session.begin():
            cases = research.permitted_cases(session, clinic_id=self.login.actor.clinic_id)
            self._audit(session, AuditAction.TRAINING_EXPORT_STARTED, detail=f"{len(cases)} cases")
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as unfinished:
            folder = Path(unfinished) / "training-set"
            folder.mkdir(mode=0o700)
            photos, left_out = self._collect(cases, folder)
            if photos:
                self._finish(photos, left_out, folder)
                folder.rename(out)
        return Exported(len(cases) - len(left_out), len(photos), tuple(left_out))

    def _collect(
        self, cases: Sequence[PermittedCase], folder: Path
    ) -> tuple[list[TrainingCase], list[LeftOut]]:
        photos: list[TrainingCase] = []
        left_out: list[LeftOut] = []
        for place, case in enumerate(cases):
            try:
                photos += self._copy(case, folder)
            except KeeperUnavailableError as down:
                # Each further case would only wait as long for the same answer.
                left_out += [
                    LeftOut(each.report.submission_id, str(down)) for each in cases[place:]
                ]
                break
            except (
                KeeperRefusedError,
                EnvelopeError,
                MissingBlobError,
                HistoryInvalid,
                NoPictureError,
            ) as error:
                left_out.append(LeftOut(case.report.submission_id, str(error)))
        return photos, left_out

    def _copy(self, case: PermittedCase, folder: Path) -> list[TrainingCase]:
        """Write the photos of one case; none unless all of them open."""
        report = case.report
        rows, file_keys = self._ask(report)
        blobs = self.services.blobs
        opened = {
            row.id: sealed_objects.open_object(row, blobs, file_key=file_keys[row.id])
            for row in rows
        }
        told = next(row.id for row in rows if row.kind == ObjectKind.HISTORY)
        history = History.from_dict(json.loads(opened[told]))
        photos = [
            (self._case(case, history, object_id, data), data)
            for object_id, data in opened.items()
            if object_id != told
        ]
        for photo, data in photos:
            (folder / photo.file).write_bytes(data)
        with self.services.sessions() as session, session.begin():
            self._audit(session, AuditAction.CASE_EXPORTED, report, detail=f"{len(photos)} photos")
        return [photo for photo, _ in photos]

    def _ask(self, report: SignedReport) -> tuple[list[SealedObject], dict[str, bytes]]:
        """The objects of a case and their file keys."""
        with self.services.sessions() as session, session.begin():
            login = accounts.live_login(session, self.login.token)
            rows = research.exported_objects(session, report.submission_id)
        if not any(row.kind == ObjectKind.RENDITION for row in rows):
            raise NoPictureError("no clean picture of the spot was made")
        wanted = NewKeyRequest(
            purpose=KeyPurpose.TRAINING,
            object_ids=tuple(row.id for row in rows),
            recipient_key=b"",
            login_session_id=login.id if login else None,
            submission_id=report.submission_id,
        )
        return rows, self.keeper.file_keys(wanted)

    def _case(
        self, case: PermittedCase, history: History, object_id: str, data: bytes
    ) -> TrainingCase:
        box, report = self.services.account_secrets, case.report
        return training_case(
            history,
            case.truth,
            image_id=box.pseudonym(object_id, clinic_id=report.clinic_id),
            lesion_id=box.pseudonym(report.submission_id, clinic_id=report.clinic_id),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def _finish(
        self, photos: Sequence[TrainingCase], left_out: Sequence[LeftOut], folder: Path
    ) -> None:
        """Manifest, then audit entry: better an entry too many than a copy without one."""
        in_order = sorted(photos, key=lambda case: case.image_id)
        manifest = write_training_manifest(folder, in_order, origin=ORIGIN)
        write_proven_labels(folder, in_order)
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        detail = f"{len(photos)} photos, {len(left_out)} cases left out, manifest {digest}"
        with self.services.sessions() as session, session.begin():
            self._audit(session, AuditAction.TRAINING_SET_EXPORTED, detail=detail)

    def _sign_out(self) -> None:
        with self.services.sessions() as session, session.begin():
            login = accounts.live_login(session, self.login.token)
            if login is not None:
                accounts.end_login(session, login)
                self._audit(session, AuditAction.SIGNED_OUT, detail=PROGRAM)

    def _audit(
        self,
        session: Session,
        action: AuditAction,
        report: SignedReport | None = None,
        *,
        detail: str,
    ) -> None:
        self.services.auditor.record(
            session,
            action,
            self.login.actor.user_id,
            clinic_id=self.login.actor.clinic_id,
            patient_id=report.patient_id if report else None,
            submission_id=report.submission_id if report else None,
            detail=detail,
        )
