"""Browsers in which an account was signed in before, so that a new one can be told of.

A browser is known by a random token in a cookie of its own, of which the row holds the hash.
"""

from sqlalchemy.orm import Session

from clinic.one_time_link import digest, new_token
from clinic.records.db import database_now
from clinic.records.models import Account, KnownDevice


def recognise(session: Session, account: Account, token: str | None) -> bool:
    """Whether this browser is known to this account; a known one is remembered anew."""
    found = session.get(KnownDevice, (account.id, digest(token))) if token else None
    if found is None:
        return False
    found.last_seen_at = database_now(session)
    return True


def remember(session: Session, account: Account, token: str | None) -> str:
    """Know this browser from now on; return the token for its cookie.

    A token that the browser has from another account is kept: several people may share a browser.
    """
    kept = token or new_token()
    session.merge(
        KnownDevice(
            account_id=account.id, token_hash=digest(kept), last_seen_at=database_now(session)
        )
    )
    return kept
