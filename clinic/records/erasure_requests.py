"""A patient's wish to be erased: asked, withdrawn, refused, granted; each a conditional UPDATE."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from clinic.records.accounts import digest
from clinic.records.db import database_now
from clinic.records.models import ErasureRequest, Patient
from clinic.retention import ERASURE_ANSWERED_WITHIN, ErasureRefusal, ErasureState


@dataclass(frozen=True)
class Asked:
    """`token` fetches the certificate, later and without an account; only its digest is stored."""

    request_id: str
    token: str


_UNDONE = (ErasureState.OPEN, ErasureState.GRANTED)


@dataclass(frozen=True)
class Waiting:
    """Requests that are not answered, or granted and not done; and those whose time is over."""

    open: int
    overdue: int


def ask(session: Session, patient: Patient) -> Asked:
    """Write the wish down. The caller has looked for an undecided one in the same transaction."""
    now = database_now(session)
    token = secrets.token_urlsafe(32)
    row = ErasureRequest(
        patient_id=patient.id,
        clinic_id=patient.clinic_id,
        requested_at=now,
        due_at=now + ERASURE_ANSWERED_WITHIN,
        token_hash=digest(token),
    )
    session.add(row)
    session.flush()
    return Asked(row.id, token)


def newest_of(session: Session, patient_id: str) -> ErasureRequest | None:
    """The patient's last wish, whatever became of it."""
    query = select(ErasureRequest).where(ErasureRequest.patient_id == patient_id)
    return session.scalar(query.order_by(ErasureRequest.requested_at.desc()).limit(1))


def undecided(session: Session, *, clinic_id: str) -> Sequence[ErasureRequest]:
    """A clinic's requests that wait for an answer, or for what was granted to be done."""
    query = select(ErasureRequest).where(
        ErasureRequest.clinic_id == clinic_id,
        ErasureRequest.state.in_(_UNDONE),
    )
    return session.scalars(query.order_by(ErasureRequest.due_at)).all()


def waiting(session: Session) -> Waiting:
    undone = ErasureRequest.state.in_(_UNDONE)
    query = select(func.count()).select_from(ErasureRequest).where(undone)
    overdue = query.where(ErasureRequest.due_at < database_now(session))
    return Waiting(session.scalar(query) or 0, session.scalar(overdue) or 0)


def withdraw(session: Session, request_id: str) -> bool:
    """The patient thinks better of it; False when it was decided meanwhile."""
    return _move(session, request_id, ErasureState.WITHDRAWN)


def refuse(session: Session, request_id: str, *, by: str, reason: ErasureRefusal) -> bool:
    return _move(session, request_id, ErasureState.REFUSED, decided_by=by, refusal=reason)


def grant(session: Session, request_id: str, *, by: str) -> bool:
    """From here on there is no way back: commit it, and only then let the eraser begin."""
    return _move(session, request_id, ErasureState.GRANTED, decided_by=by)


def _move(session: Session, request_id: str, to: ErasureState, **values: Any) -> bool:
    now = database_now(session)
    done = session.execute(
        update(ErasureRequest)
        .where(ErasureRequest.id == request_id, ErasureRequest.state == ErasureState.OPEN)
        .values(state=to, decided_at=now, **values),
        execution_options={"synchronize_session": "fetch"},
    )
    assert isinstance(done, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return done.rowcount == 1


def by_token(session: Session, token: str) -> ErasureRequest | None:
    """The request of a certificate's token, as long as the certificate was not fetched."""
    query = select(ErasureRequest).where(ErasureRequest.token_hash == digest(token))
    return session.scalar(query.where(ErasureRequest.fetched_at.is_(None)))


def spend_certificate(session: Session, token: str) -> str | None:
    """The certificate, once: whoever comes second gets none."""
    now = database_now(session)
    return session.scalar(
        update(ErasureRequest)
        .where(ErasureRequest.token_hash == digest(token))
        .where(ErasureRequest.state == ErasureState.DONE, ErasureRequest.fetched_at.is_(None))
        .values(fetched_at=now)
        .returning(ErasureRequest.certificate),
        execution_options={"synchronize_session": False},
    )


def forget_answered(session: Session, patient_id: str) -> None:
    """In a restored backup: a wish that was answered after the backup waits for nobody."""
    undone = ErasureRequest.state.in_(_UNDONE)
    session.execute(
        delete(ErasureRequest).where(ErasureRequest.patient_id == patient_id, undone),
        execution_options={"synchronize_session": False},
    )
