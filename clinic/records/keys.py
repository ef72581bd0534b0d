"""Key rows: the clinic's epoch keys, the patients' keys and the enrolled processes."""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.envelope import PublicKey
from clinic.epoch_key import EpochKey, SignedEpochKey, sign_epoch_key, verify_epoch_key
from clinic.escrow import Escrow
from clinic.keeper_protocol import enrolment_mac
from clinic.master_key import MasterKey
from clinic.records.db import database_now, new_id
from clinic.records.models import EpochKeyRow, MasterKeyHead, PatientKey, ProcessKey

EPOCH_LIFE = timedelta(days=14)
EPOCH_OVERLAP = timedelta(days=3)  # a form that is open when the next key begins is still taken


class NoEpochKeyError(Exception):
    """The clinic has no valid epoch key; nothing can be sealed until `flask keys epoch` ran."""


class KeyDestroyedError(Exception):
    """The key was destroyed; what was sealed to it alone cannot be opened any more."""


def publish_epoch(
    session: Session,
    master: MasterKey,
    root: Ed25519PrivateKey,
    *,
    begin: datetime | None = None,
    escrow: Escrow | None = None,
) -> str:
    """Make an epoch key pair that is valid from `begin`, or from now; return its kid."""
    begin = (begin or database_now(session) - timedelta(minutes=1)).replace(microsecond=0)
    private = X25519PrivateKey.generate()
    epoch = EpochKey(
        kid=f"epoch-{new_id()[:16]}",
        public_key=private.public_key().public_bytes_raw(),
        not_before=begin,
        not_after=begin + EPOCH_LIFE,
    )
    kept = _kept(session, master, escrow, secret=private.private_bytes_raw(), kid=epoch.kid)
    session.add(
        EpochKeyRow(
            kid=epoch.kid,
            signed=sign_epoch_key(epoch, root).to_json(),
            private_wrapped=kept.wrapped,
            emergency_copy=kept.emergency_copy,
            not_before=epoch.not_before,
            not_after=epoch.not_after,
        )
    )
    session.flush()
    return epoch.kid


def publish_epochs(
    session: Session,
    master: MasterKey,
    root: Ed25519PrivateKey,
    *,
    count: int,
    escrow: Escrow | None = None,
) -> list[str]:
    """Make epoch keys ahead: each begins EPOCH_OVERLAP before the one in front of it ends."""
    end = sealable_until(session)
    begin = end - EPOCH_OVERLAP if end else None
    kids = []
    for _ in range(count):
        kids.append(publish_epoch(session, master, root, begin=begin, escrow=escrow))
        begin = session.get_one(EpochKeyRow, kids[-1]).not_after - EPOCH_OVERLAP
    return kids


def sealable_until(session: Session) -> datetime | None:
    """When the chain of epoch keys that begins with a valid one ends; None without a valid one."""
    now = database_now(session)
    end: datetime | None = None
    rows = select(EpochKeyRow.not_before, EpochKeyRow.not_after).where(
        EpochKeyRow.not_after > now, EpochKeyRow.destroyed_at.is_(None)
    )
    for begins, ends in session.execute(rows.order_by(EpochKeyRow.not_before)):
        if begins > (end or now):
            break
        end = max(end or ends, ends)
    return end


def has_next_epoch(session: Session) -> bool:
    """Whether sealing goes on when the key that is sealed to now ends."""
    end = sealable_until(session)
    return end is not None and end > current_epoch(session).epoch.not_after


def current_epoch(session: Session, *, now: datetime | None = None) -> SignedEpochKey:
    """The newest epoch key that is valid now, as signed by the root."""
    now = now or database_now(session)
    row = session.scalar(
        select(EpochKeyRow)
        .where(EpochKeyRow.not_before <= now, EpochKeyRow.not_after > now)
        .where(EpochKeyRow.destroyed_at.is_(None))
        .order_by(EpochKeyRow.not_before.desc())
        .limit(1)
    )
    if row is None:
        raise NoEpochKeyError("No valid clinic key: run `flask keys epoch`.")
    return SignedEpochKey.from_json(row.signed)


def sealing_recipient(session: Session, root_public: bytes) -> PublicKey:
    """The epoch key to seal to, after checking the root's signature."""
    now = database_now(session)
    signed = current_epoch(session, now=now)
    return verify_epoch_key(signed, root_public, now=now).recipient()


def epoch_is_usable(session: Session, kid: str) -> bool:
    """Whether a freshly sealed object may name this epoch key: not retired, not destroyed."""
    row = session.get(EpochKeyRow, kid)
    return row is not None and row.destroyed_at is None and row.not_after > database_now(session)


def epoch_private_key(session: Session, master: MasterKey, kid: str) -> X25519PrivateKey:
    row = session.get(EpochKeyRow, kid)
    if row is None or row.private_wrapped is None:
        raise KeyDestroyedError(f"The epoch key {kid} does not exist any more.")
    return X25519PrivateKey.from_private_bytes(master.unwrap(row.private_wrapped, context=kid))


def patient_key(
    session: Session, master: MasterKey, patient_id: str, *, escrow: Escrow | None = None
) -> tuple[str, bytes]:
    """The patient's newest key (kid, 32 bytes), made at first use."""
    row = session.scalar(
        select(PatientKey)
        .where(PatientKey.patient_id == patient_id)
        .order_by(PatientKey.version.desc())
        .limit(1)
    )
    if row is None:
        return new_patient_key(session, master, patient_id, version=1, escrow=escrow)
    return row.kid, patient_key_by_kid(session, master, row.kid)


def patient_key_by_kid(session: Session, master: MasterKey, kid: str) -> bytes:
    row = session.get(PatientKey, kid)
    if row is None or row.wrapped is None:
        raise KeyDestroyedError(f"The patient key {kid} does not exist any more.")
    return master.unwrap(row.wrapped, context=kid)


def new_patient_key(
    session: Session, master: MasterKey, patient_id: str, *, version: int, escrow: Escrow | None
) -> tuple[str, bytes]:
    """Make the next version of a patient's key (kid, 32 bytes)."""
    kid, key = f"patient-{new_id()[:16]}", os.urandom(32)
    kept = _kept(session, master, escrow, secret=key, kid=kid)
    session.add(
        PatientKey(
            kid=kid,
            patient_id=patient_id,
            version=version,
            wrapped=kept.wrapped,
            emergency_copy=kept.emergency_copy,
            created_at=database_now(session),
        )
    )
    session.flush()
    return kid, key


@dataclass(frozen=True)
class _Kept:
    wrapped: bytes
    emergency_copy: bytes | None


def _kept(
    session: Session, master: MasterKey, escrow: Escrow | None, *, secret: bytes, kid: str
) -> _Kept:
    """How a new key is stored: under the master key, and for emergencies."""
    key_id = current_master_key(session, master)
    wrapped = master.wrap(secret, context=kid, key_id=key_id)
    return _Kept(wrapped, escrow.copy(secret, kid=kid) if escrow else None)


def current_master_key(session: Session, master: MasterKey) -> str:
    """The id of the master key that wraps what is new; the first one ever is taken as it comes.

    The row stays locked to the end of the transaction, so that a rotation that begins meanwhile
    waits and then sees what was wrapped here.
    """
    head = session.get(MasterKeyHead, 1, with_for_update={"read": True}, populate_existing=True)
    if head is None:
        head = MasterKeyHead(id=1, key_id=master.ids()[0], since=database_now(session))
        session.add(head)
        session.flush()
    return head.key_id


@dataclass(frozen=True)
class ProcessIdentity:
    """A running process that may receive file keys: its row's id and its private key."""

    id: str
    private_key: X25519PrivateKey


def enrol_process(
    session: Session,
    secret: bytes,
    *,
    program: str,
    model_version: str | None = None,
    model_fingerprint: str | None = None,
) -> ProcessIdentity:
    """Write this process's public key with the enrolment MAC. The private key stays in memory."""
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    process_id, now = new_id(), database_now(session)
    session.add(
        ProcessKey(
            id=process_id,
            program=program,
            public_key=public,
            mac=enrolment_mac(secret, process_id=process_id, program=program, public_key=public),
            model_version=model_version,
            model_fingerprint=model_fingerprint,
            started_at=now,
            last_seen_at=now,
        )
    )
    session.flush()
    return ProcessIdentity(process_id, private)


def touch_process(session: Session, process_id: str) -> None:
    row = session.get(ProcessKey, process_id)
    if row is not None:
        row.last_seen_at = database_now(session)


def newest_worker(session: Session, *, since: datetime) -> ProcessKey | None:
    """The worker seen last, if it was seen after `since`."""
    query = select(ProcessKey).where(
        ProcessKey.program == "worker", ProcessKey.last_seen_at > since
    )
    return session.scalar(query.order_by(ProcessKey.last_seen_at.desc()).limit(1))
