"""Requests to the keeper: asked here, answered by the keeper, read back here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.keeper_protocol import KeyPurpose
from clinic.records.db import database_now, new_id
from clinic.records.models import KeyRequest

REQUEST_LIFE = timedelta(seconds=30)


@dataclass(frozen=True)
class NewKeyRequest:
    """Who asks (exactly one of session, client, token) for which objects, and for whose key."""

    purpose: KeyPurpose
    object_ids: tuple[str, ...]
    recipient_key: bytes
    process_id: str | None = None
    login_session_id: str | None = None
    ehr_client_id: str | None = None
    submission_id: str | None = None
    token: str | None = None


def ask(session: Session, new: NewKeyRequest) -> KeyRequest:
    return ask_all(session, [new])[0]


def ask_all(session: Session, wanted: Sequence[NewKeyRequest]) -> list[KeyRequest]:
    now = database_now(session)
    rows = [
        KeyRequest(
            id=new_id(),
            purpose=new.purpose,
            object_ids=list(new.object_ids),
            recipient_key=new.recipient_key,
            process_id=new.process_id,
            login_session_id=new.login_session_id,
            ehr_client_id=new.ehr_client_id,
            submission_id=new.submission_id,
            token=new.token,
            created_at=now,
            expires_at=now + REQUEST_LIFE,
        )
        for new in wanted
    ]
    session.add_all(rows)
    session.flush()
    return rows


def find(session: Session, request_id: str) -> KeyRequest | None:
    return session.get(KeyRequest, request_id, populate_existing=True)


def answered(session: Session, request_ids: Iterable[str]) -> list[KeyRequest]:
    """Those of these requests that the keeper has granted or refused."""
    query = select(KeyRequest).where(KeyRequest.id.in_(list(request_ids)))
    return list(session.scalars(query.where(KeyRequest.state != "waiting")))


def any_waiting(session: Session) -> bool:
    """Whether a request that has not expired waits for its answer."""
    now = database_now(session)
    query = select(KeyRequest.id).where(KeyRequest.created_at > now - REQUEST_LIFE)
    return session.scalar(query.where(KeyRequest.state == "waiting").limit(1)) is not None


def asked_last_hour(session: Session, row: KeyRequest) -> int:
    """How many requests the same session or client made within the hour before this one.

    A worker has neither; what it may open follows from its lease.
    """
    if row.login_session_id is None and row.ehr_client_id is None:
        return 0
    query = select(func.count()).select_from(KeyRequest)
    query = query.where(KeyRequest.created_at > row.created_at - timedelta(hours=1))
    if row.login_session_id is not None:
        query = query.where(KeyRequest.login_session_id == row.login_session_id)
    else:
        query = query.where(KeyRequest.ehr_client_id == row.ehr_client_id)
    return session.scalar(query) or 0
