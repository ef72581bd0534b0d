"""Registered EHR systems and their bearer tokens."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.ehr_client import EhrClient
from clinic.one_time_link import digest
from clinic.records import models
from clinic.records.db import database_now, new_id

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
    client = models.EhrClient(
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
    query = select(models.EhrClient).where(models.EhrClient.token_hash == digest(token))
    return _living(session, session.scalar(query))


def alive(session: Session, client_id: str) -> EhrClient | None:
    """The client with this id, if its token still counts."""
    return _living(session, session.get(models.EhrClient, client_id))


def _living(session: Session, row: models.EhrClient | None) -> EhrClient | None:
    if row is None or row.revoked_at is not None or row.expires_at <= database_now(session):
        return None
    return EhrClient(id=row.id, clinic_id=row.clinic_id, scopes=frozenset(row.scopes.split()))
