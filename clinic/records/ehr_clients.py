"""Registered EHR systems and their bearer tokens."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.one_time_link import digest
from clinic.records.db import database_now, new_id
from clinic.records.models import EhrClient

TOKEN_LIFE = timedelta(days=90)
READ_SCOPES = "system/*.rs"


@dataclass(frozen=True)
class Registration:
    client_id: str
    token: str


def register(
    session: Session, *, clinic_id: str, name: str, scopes: str = READ_SCOPES
) -> Registration:
    """Register a client of one clinic. The token is shown once; only its SHA-256 is kept."""
    token, now = secrets.token_urlsafe(32), database_now(session)
    client = EhrClient(
        id=new_id(),
        clinic_id=clinic_id,
        name=name,
        token_hash=digest(token),
        scopes=scopes,
        created_at=now,
        expires_at=now + TOKEN_LIFE,
    )
    session.add(client)
    session.flush()
    return Registration(client.id, token)


def by_token(session: Session, token: str) -> EhrClient | None:
    """The client of a living token."""
    found = session.scalar(select(EhrClient).where(EhrClient.token_hash == digest(token)))
    if found is None or found.revoked_at is not None:
        return None
    return found if found.expires_at > database_now(session) else None
