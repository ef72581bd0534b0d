"""Links that work once: what each is for, and how long it lives. Only a hash of one is stored."""

import hashlib
import secrets
from datetime import timedelta
from enum import StrEnum


class LinkPurpose(StrEnum):
    PASSWORD_RESET = "password reset"  # noqa: S105 - a purpose, not a password
    EMAIL_CHANGE = "email change"
    REGISTRATION = "registration"


# Counted from the moment in which the mail leaves. ASVS 6.4.6 and 6.6.3 ask for short lives.
LIFE = {
    LinkPurpose.PASSWORD_RESET: timedelta(minutes=30),
    LinkPurpose.EMAIL_CHANGE: timedelta(minutes=30),
    LinkPurpose.REGISTRATION: timedelta(hours=2),
}
INVITATION_LIFE = timedelta(hours=24)
DEMO_LINK_LIFE = timedelta(minutes=10)


def new_token() -> str:
    """256 random bits, as they stand in a link or a cookie."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored in place of a random token."""
    return hashlib.sha256(token.encode()).hexdigest()
