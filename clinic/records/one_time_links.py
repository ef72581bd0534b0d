"""Links that are mailed: made while their mail is sent, found by their token, used up once."""

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from clinic.account_secrets import AccountSecrets
from clinic.one_time_link import LIFE, LinkPurpose, digest, new_token
from clinic.records.db import database_now
from clinic.records.models import OneTimeLink

_EMAIL = "one-time link email"


def make(
    session: Session,
    box: AccountSecrets,
    purpose: LinkPurpose,
    *,
    account_id: str | None,
    email: str | None,
) -> str:
    """Store a link's hash and return its token."""
    token = new_token()
    hashed = digest(token)
    sealed = box.seal(email, account_id=hashed, column=_EMAIL) if email is not None else None
    session.add(
        OneTimeLink(
            token_hash=hashed,
            purpose=purpose,
            account_id=account_id,
            email_sealed=sealed,
            expires_at=database_now(session) + LIFE[purpose],
        )
    )
    session.flush()
    return token


def find(session: Session, purpose: LinkPurpose, token: str) -> OneTimeLink | None:
    """The link of a token, if it can still be used for this."""
    link = session.get(OneTimeLink, digest(token))
    if link is None or link.purpose != purpose or link.used_at is not None:
        return None
    return link if link.expires_at > database_now(session) else None


def spend(session: Session, link: OneTimeLink) -> bool:
    """Use the link up; False where it was used or ran out meanwhile."""
    now = database_now(session)
    done = session.execute(
        update(OneTimeLink)
        .where(OneTimeLink.token_hash == link.token_hash)
        .where(OneTimeLink.used_at.is_(None), OneTimeLink.expires_at > now)
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def email_of(box: AccountSecrets, link: OneTimeLink) -> str:
    """The address that the link proves."""
    if link.email_sealed is None:
        raise LookupError("This link proves no address.")
    return box.unseal(link.email_sealed, account_id=link.token_hash, column=_EMAIL)


def drop_all(session: Session, account_id: str) -> None:
    """No link of this account works any more."""
    session.execute(delete(OneTimeLink).where(OneTimeLink.account_id == account_id))
