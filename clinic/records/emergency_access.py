"""Emergency access (45 CFR 164.312(a)(2)(ii)): two people open one case without the keeper.

Their two halves open the emergency copies of the keys that the case's objects are sealed to. The
audit entry is committed before anything is opened, and the operations page and an alert tell of it.
A patient who was erased stays closed: with the keys their copies were destroyed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import EnvelopeError, Header, unwrap, unwrap_with_key
from clinic.escrow import Escrow, EscrowError, check_halves, open_copy
from clinic.keeper_protocol import ObjectKind
from clinic.master_key import MasterKey
from clinic.records import sealed_objects, stored_keys
from clinic.records.audit_log import Auditor
from clinic.records.blobs import BlobStore, MissingBlobError
from clinic.records.db import SessionFactory
from clinic.records.models import EpochKeyRow, PatientKey, SealedObject, Submission
from clinic.records.stored_keys import StoredKey

MOST_NAME = 60
MOST_REASON = 200


class EmergencyRefusedError(Exception):
    """Nothing was opened; the message says why."""


@dataclass(frozen=True)
class EmergencyRequest:
    """Who asks for which case and why. The names and the reason go into the audit entry."""

    submission_id: str
    halves: tuple[str, str]
    reason: str
    people: tuple[str, str]

    def __post_init__(self) -> None:
        names = [one.strip().casefold() for one in self.people]
        if not all(names) or names[0] == names[1]:
            raise EmergencyRefusedError("Two different people must be named.")
        if not self.reason.strip() or len(self.reason) > MOST_REASON:
            raise EmergencyRefusedError(f"Give a reason of 1 to {MOST_REASON} characters.")
        if max(map(len, self.people)) > MOST_NAME:
            raise EmergencyRefusedError(f"A name has at most {MOST_NAME} characters.")
        try:
            check_halves(self.halves)
        except EscrowError as error:
            raise EmergencyRefusedError(str(error)) from error


@dataclass(frozen=True)
class Opened:
    """One object in clear, or the reason why it stays closed."""

    kind: ObjectKind
    slot: int
    view: str | None
    content: bytes | None
    problem: str | None = None


@dataclass(frozen=True)
class EmergencyAccess:
    sessions: SessionFactory
    blobs: BlobStore
    auditor: Auditor

    def open_case(self, request: EmergencyRequest, *, actor: str) -> list[Opened]:
        """Everything of one case, with the patient's identity.

        Raises:
            EmergencyRefusedError: there is no such case.

        """
        self._record(request, actor)
        with self.sessions() as session:
            rows = _objects(session, request.submission_id)
            return [self._open(session, row, request.halves) for row in rows]

    def _record(self, request: EmergencyRequest, actor: str) -> None:
        with self.sessions() as session, session.begin():
            case = session.get(Submission, request.submission_id)
            if case is None:
                raise EmergencyRefusedError(
                    f"There is no case {request.submission_id}. An erased patient's cases are gone."
                )
            first, second = request.people
            self.auditor.record(
                session,
                AuditAction.EMERGENCY_ACCESS,
                actor,
                clinic_id=case.clinic_id,
                patient_id=case.patient_id,
                submission_id=case.id,
                detail=f"by {first} and {second}: {request.reason}",
            )

    def _open(self, session: Session, row: SealedObject, halves: tuple[str, str]) -> Opened:
        kind = ObjectKind(row.kind)
        try:
            file_key = _file_key(session, sealed_objects.header_of(row), halves)
            content = sealed_objects.open_object(row, self.blobs, file_key=file_key)
        except (EscrowError, EnvelopeError, MissingBlobError) as error:
            return Opened(kind, row.slot, row.view, None, str(error))
        return Opened(kind, row.slot, row.view, content)


def _objects(session: Session, submission_id: str) -> Sequence[SealedObject]:
    case = session.get_one(Submission, submission_id)
    of_case = select(SealedObject).where(
        SealedObject.submission_id == submission_id, SealedObject.current
    )
    rows = list(session.scalars(of_case.order_by(SealedObject.kind, SealedObject.slot)))
    identity = sealed_objects.identity_of(session, case.patient_id)
    return [identity, *rows] if identity else rows


def _file_key(session: Session, header: Header, halves: tuple[str, str]) -> bytes:
    entry = header.recipients[-1]
    row: EpochKeyRow | PatientKey | None = (
        session.get(EpochKeyRow, entry.kid)
        if entry.alg is None
        else session.get(PatientKey, entry.kid)
    )
    if row is None or row.emergency_copy is None:
        raise EscrowError(f"The key {entry.kid} was destroyed, or has no emergency copy.")
    key = open_copy(row.emergency_copy, halves=halves, kid=entry.kid)
    if entry.alg is not None:
        return unwrap_with_key(header, kid=entry.kid, key=key)
    private = X25519PrivateKey.from_private_bytes(key)
    return unwrap(header, kid=entry.kid, private_key=private)


def renew_copies(
    sessions: SessionFactory, master: MasterKey, escrow: Escrow, auditor: Auditor, *, actor: str
) -> int:
    """Give every living key an emergency copy for these two people, in place of any other.

    Raises:
        MasterKeyError: the master key does not open a key. Those before it have their copies.

    """

    def renew(key: StoredKey) -> bool:
        secret = master.unwrap(key.wrapped, context=key.row.kid)
        key.row.emergency_copy = escrow.copy(secret, kid=key.row.kid)
        return True

    made = stored_keys.walk(sessions, renew)
    with sessions() as session, session.begin():
        auditor.record(session, AuditAction.EMERGENCY_COPIES_MADE, actor, detail=f"{made} keys")
    return made
