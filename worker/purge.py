"""Housekeeping: what has served its time is deleted, and bodies that no row names are swept."""

import time
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from clinic.records.blobs import BlobStore
from clinic.records.db import SessionFactory, database_now
from clinic.records.models import KeyRequest, LoginSession, SealedObject, SignInLink

KEEP_KEY_REQUESTS = timedelta(hours=2)  # the keeper counts those of the last hour
KEEP_LOGIN_SESSIONS = timedelta(days=2)
ORPHAN_AGE_SECONDS = 3600.0  # an upload that is still under way has a body and no row yet


def purge_expired(sessions: SessionFactory, blobs: BlobStore) -> int:
    """Delete expired rows and orphaned bodies; return how many bodies were swept."""
    with sessions() as session, session.begin():
        now = database_now(session)
        session.execute(delete(KeyRequest).where(KeyRequest.created_at < now - KEEP_KEY_REQUESTS))
        session.execute(delete(SignInLink).where(SignInLink.expires_at < now))
        session.execute(
            delete(LoginSession)
            .where(LoginSession.expires_at < now - KEEP_LOGIN_SESSIONS)
            .where(
                LoginSession.id.not_in(
                    select(KeyRequest.login_session_id)
                    .distinct()
                    .where(KeyRequest.login_session_id.is_not(None))
                )
            )
        )
    old = time.time() - ORPHAN_AGE_SECONDS
    blobs.sweep_unfinished(older_than=old)
    orphans = list(blobs.ids(older_than=old))
    with sessions() as session:
        swept = [one for one in orphans if not _is_named(session, one)]
    for one in swept:
        blobs.delete(one)
    return len(swept)


def _is_named(session: Session, object_id: str) -> bool:
    return session.get(SealedObject, object_id) is not None
