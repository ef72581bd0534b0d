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
from clinic.keeper_protocol import enrolment_mac
from clinic.master_key import MasterKey
from clinic.records.db import database_now, new_id
from clinic.records.models import EpochKeyRow, PatientKey, ProcessKey

EPOCH_LIFE = timedelta(days=14)


class NoEpochKeyError(Exception):
    """The clinic has no valid epoch key; nothing can be sealed until `flask keys epoch` ran."""


class KeyDestroyedError(Exception):
    """The key was destroyed; what was sealed to it alone cannot be opened any more."""


def publish_epoch(
    session: Session, master: MasterKey, root: Ed25519PrivateKey, *, life: timedelta = EPOCH_LIFE
) -> str:
    """Make an epoch key pair that is valid from now; return its kid."""
    now = database_now(session).replace(microsecond=0)
    private = X25519PrivateKey.generate()
    epoch = EpochKey(
        kid=f"epoch-{new_id()[:16]}",
        public_key=private.public_key().public_bytes_raw(),
        not_before=now - timedelta(minutes=1),
        not_after=now + life,
    )
    session.add(
        EpochKeyRow(
            kid=epoch.kid,
            signed=sign_epoch_key(epoch, root).to_json(),
            private_wrapped=master.wrap(private.private_bytes_raw(), context=epoch.kid),
            not_before=epoch.not_before,
            not_after=epoch.not_after,
        )
    )
    session.flush()
    return epoch.kid


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


def patient_key(session: Session, master: MasterKey, patient_id: str) -> tuple[str, bytes]:
    """The patient's newest key (kid, 32 bytes), made at first use."""
    row = session.scalar(
        select(PatientKey)
        .where(PatientKey.patient_id == patient_id)
        .order_by(PatientKey.version.desc())
        .limit(1)
    )
    if row is None:
        return _new_patient_key(session, master, patient_id)
    return row.kid, patient_key_by_kid(session, master, row.kid)


def patient_key_by_kid(session: Session, master: MasterKey, kid: str) -> bytes:
    row = session.get(PatientKey, kid)
    if row is None or row.wrapped is None:
        raise KeyDestroyedError(f"The patient key {kid} does not exist any more.")
    return master.unwrap(row.wrapped, context=kid)


def _new_patient_key(session: Session, master: MasterKey, patient_id: str) -> tuple[str, bytes]:
    kid, key = f"patient-{new_id()[:16]}", os.urandom(32)
    session.add(
        PatientKey(
            kid=kid,
            patient_id=patient_id,
            version=1,
            wrapped=master.wrap(key, context=kid),
            created_at=database_now(session),
        )
    )
    session.flush()
    return kid, key


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
