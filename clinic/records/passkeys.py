"""Passkeys of an account, and the challenges that browsers answer with them (WebAuthn level 3)."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from clinic.records.db import database_now, new_id
from clinic.records.models import Account, Passkey, PasskeyChallenge

CHALLENGE_BYTES = 64
CHALLENGE_LIFE = timedelta(minutes=5)
MOST_PASSKEYS = 20


@dataclass(frozen=True)
class NewPasskey:
    credential_id: bytes
    public_key: bytes
    sign_count: int
    name_sealed: bytes


class PasskeyTakenError(Exception):
    """The credential is registered already."""


def of_account(session: Session, account_id: str) -> list[Passkey]:
    """The account's passkeys, oldest first."""
    query = select(Passkey).where(Passkey.account_id == account_id)
    return list(session.scalars(query.order_by(Passkey.created_at, Passkey.id)))


def count(session: Session, account_id: str) -> int:
    query = select(func.count()).select_from(Passkey).where(Passkey.account_id == account_id)
    return session.scalar(query) or 0


def by_credential(session: Session, credential_id: bytes) -> Passkey | None:
    return session.scalar(select(Passkey).where(Passkey.credential_id == credential_id))


def add(session: Session, account: Account, new: NewPasskey) -> Passkey:
    """Raises PasskeyTakenError where the credential has a row, of this account or another."""
    if by_credential(session, new.credential_id) is not None:
        raise PasskeyTakenError
    passkey = Passkey(
        account_id=account.id,
        credential_id=new.credential_id,
        public_key=new.public_key,
        sign_count=new.sign_count,
        name_sealed=new.name_sealed,
        created_at=database_now(session),
    )
    session.add(passkey)
    session.flush()
    return passkey


def note_use(session: Session, passkey: Passkey, *, sign_count: int) -> bool:
    """Store the counter after a use; False where another use has moved it meanwhile."""
    done = session.execute(
        update(Passkey)
        .where(Passkey.id == passkey.id, Passkey.sign_count == passkey.sign_count)
        .values(sign_count=sign_count, last_used_at=database_now(session))
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def new_challenge(session: Session, account_id: str | None) -> PasskeyChallenge:
    """A challenge for this account's browser, or for one of which nobody knows whose it is."""
    challenge = PasskeyChallenge(
        id=new_id(),
        account_id=account_id,
        challenge=secrets.token_bytes(CHALLENGE_BYTES),
        expires_at=database_now(session) + CHALLENGE_LIFE,
    )
    session.add(challenge)
    session.flush()
    return challenge


def spend_challenge(session: Session, challenge_id: str, account_id: str | None) -> bytes | None:
    """The challenge, at its first use within its life and by whom it was made for; else None."""
    query = (
        delete(PasskeyChallenge)
        .where(PasskeyChallenge.id == challenge_id)
        .returning(
            PasskeyChallenge.challenge, PasskeyChallenge.account_id, PasskeyChallenge.expires_at
        )
        .execution_options(synchronize_session=False)
    )
    found = session.execute(query).one_or_none()
    if found is None or found.account_id != account_id:
        return None
    return found.challenge if found.expires_at > database_now(session) else None
