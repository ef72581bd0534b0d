"""Recovery codes: each stands in for a lost second factor once. Only their hashes are stored.

A code has 120 random bits, so a plain hash is enough (ASVS 6.5.2 asks for 112).
"""

import secrets

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from clinic.one_time_link import digest
from clinic.records.db import database_now
from clinic.records.models import RecoveryCode

HOW_MANY = 10
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 32 letters that nobody confuses: 5 bits each
_GROUPS, _GROUP_LENGTH = 6, 4


def renew(session: Session, account_id: str) -> list[str]:
    """Make ten new codes in place of all earlier ones; they are shown now and never again."""
    remove(session, account_id)
    codes = [_new_code() for _ in range(HOW_MANY)]
    session.add_all(
        RecoveryCode(code_hash=digest(_bare(code)), account_id=account_id) for code in codes
    )
    session.flush()
    return codes


def remove(session: Session, account_id: str) -> None:
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))


def spend(session: Session, account_id: str, typed: str) -> bool:
    """Use a code up; False for one that is not this account's or was used."""
    done = session.execute(
        update(RecoveryCode)
        .where(RecoveryCode.code_hash == digest(_bare(typed)))
        .where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
        .values(used_at=database_now(session))
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def left(session: Session, account_id: str) -> int:
    """How many codes can still be used."""
    mine = RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None)
    return session.scalar(select(func.count()).select_from(RecoveryCode).where(*mine)) or 0


def _new_code() -> str:
    """Such as `7KQ2-9XMP-RT4W-HB3Z-2VNC-8YLD`."""
    groups = (
        "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS)
    )
    return "-".join(groups)


def _bare(typed: str) -> str:
    """However it was typed: without spaces and dashes, in capitals."""
    return "".join(one for one in typed.upper() if one.isalnum())
