"""Exchanging keys while everything runs: the master key, and the key of one patient.

Every step is a small transaction after which each stored key opens with what the keeper has at
hand: no reader waits, and a run that was cut off goes on where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import EnvelopeError, unwrap_with_key, wrap_with_key
from clinic.escrow import Escrow
from clinic.master_key import UNNAMED, MasterKey, MasterKeyError
from clinic.records import keys, sealed_objects, stored_keys
from clinic.records.audit_log import Auditor
from clinic.records.db import SessionFactory, database_now
from clinic.records.keys import KeyDestroyedError
from clinic.records.models import MasterKeyHead, PatientKey, SealedObject
from clinic.records.stored_keys import StoredKey


@dataclass(frozen=True)
class MasterRotation:
    """What one run did: the key it led to, how many keys it re-wrapped, and which it could not."""

    key_id: str
    rewrapped: int
    unopened: tuple[str, ...]


class RotationError(Exception):
    """A key cannot be exchanged; the message says why. Nothing was lost."""


def rotate_master(
    sessions: SessionFactory, master: MasterKey, auditor: Auditor, *, actor: str
) -> MasterRotation:
    """Wrap every stored key by the first of the master keys at hand.

    From the first transaction on, new keys are wrapped by it as well.

    Raises:
        MasterKeyError: the master keys cannot be used.

    """
    key_id = master.ids()[0]
    unopened: list[str] = []

    def rewrap(key: StoredKey) -> bool:
        try:
            secret = master.unwrap(key.wrapped, context=key.row.kid)
        except MasterKeyError:
            unopened.append(key.row.kid)
            return False
        key.set_wrapped(master.wrap(secret, context=key.row.kid, key_id=key_id))
        return True

    with sessions() as session, session.begin():
        _make_current(session, key_id)
    rewrapped = stored_keys.walk(sessions, rewrap, but_of=key_id)
    with sessions() as session, session.begin():
        detail = f"to {key_id}: {rewrapped} keys re-wrapped, {len(unopened)} do not open"
        auditor.record(session, AuditAction.MASTER_KEY_ROTATED, actor, detail=detail)
    return MasterRotation(key_id, rewrapped, tuple(unopened))


def _make_current(session: Session, key_id: str) -> None:
    head = session.get(MasterKeyHead, 1, with_for_update=True)
    if head is None:
        session.add(MasterKeyHead(id=1, key_id=key_id, since=database_now(session)))
    elif head.key_id != key_id:
        head.key_id, head.since = key_id, database_now(session)


def retire_master(
    sessions: SessionFactory,
    master: MasterKey,
    auditor: Auditor,
    *,
    drop: Callable[[], object],
    actor: str,
) -> None:
    """Call `drop`, which destroys all master keys at hand but the first, if none of them is needed.

    Raises:
        RotationError: a stored key still needs another one, or new keys are wrapped by it.
        MasterKeyError: the master keys cannot be used.

    """
    keep, *others = master.ids()
    with sessions() as session, session.begin():
        head = session.get(MasterKeyHead, 1, with_for_update=True)
        in_use = stored_keys.by_master_key(session)
        needed = sum(in_use.get(one, 0) for one in (*others, UNNAMED))
        if head is None or head.key_id != keep or needed:
            raise RotationError(
                f"{needed} stored keys still need another master key than {keep}: run "
                "`flask keys rotate-master` to its end first."
            )
        auditor.record(session, AuditAction.MASTER_KEY_RETIRED, actor, detail=f"all but {keep}")
    drop()


def rotate_patient(
    session: Session,
    master: MasterKey,
    auditor: Auditor,
    *,
    patient_id: str,
    actor: str,
    escrow: Escrow | None = None,
) -> int:
    """Give a patient a new key, wrap all file keys under it, destroy the old one; count objects.

    Bodies stay as they are. What is still sealed to an epoch key moves under the new one later.

    Raises:
        RotationError: the patient has no living key, or an object does not open under it.
        MasterKeyError: the master key cannot be used.

    """
    of_patient = select(SealedObject).where(SealedObject.patient_id == patient_id)
    rows = session.scalars(of_patient.order_by(SealedObject.id).with_for_update()).all()
    query = select(PatientKey).where(
        PatientKey.patient_id == patient_id, PatientKey.destroyed_at.is_(None)
    )
    living = {one.kid: one for one in session.scalars(query.with_for_update())}
    if not living:
        raise RotationError("This patient has no key yet, or was erased: nothing to exchange.")
    version = max(one.version for one in living.values()) + 1
    kid, key = keys.new_patient_key(session, master, patient_id, version=version, escrow=escrow)
    moved = sum(_rewrap(session, master, row, kid=kid, key=key) for row in rows)
    now = database_now(session)
    for old in living.values():
        old.wrapped, old.emergency_copy, old.destroyed_at = None, None, now
    detail = f"version {version}, {moved} objects"
    auditor.record(
        session, AuditAction.PATIENT_KEY_ROTATED, actor, patient_id=patient_id, detail=detail
    )
    return moved


def _rewrap(
    session: Session, master: MasterKey, row: SealedObject, *, kid: str, key: bytes
) -> bool:
    header = sealed_objects.header_of(row)
    (entry,) = header.recipients
    if entry.alg is None:
        return False
    try:
        old = keys.patient_key_by_kid(session, master, entry.kid)
        file_key = unwrap_with_key(header, kid=entry.kid, key=old)
    except (EnvelopeError, KeyDestroyedError) as error:
        raise RotationError(
            f"The object {row.id} does not open, so the old key stays: {error}."
        ) from error
    new = wrap_with_key(header, file_key, kid=kid, key=key)
    row.header = header.with_recipients(new).to_json()
    return True
