"""The people of one clinic, as its administrators see and change them. Never another clinic's."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.access import STAFF, Role
from clinic.notices import NoticeKind
from clinic.records import accounts, notices, recovery_codes
from clinic.records.db import database_now
from clinic.records.models import Account, Passkey


class CannotChangeError(Exception):
    """It cannot be done to this person; the message says why and what to do."""


def staff_of(session: Session, clinic_id: str) -> list[Account]:
    """Everybody of the clinic who is not a patient, by name."""
    query = select(Account).where(Account.clinic_id == clinic_id, Account.role.in_(STAFF))
    return list(session.scalars(query.order_by(Account.family_name, Account.given_name)))


def find(session: Session, *, clinic_id: str, account_id: str) -> Account | None:
    """Anybody of the clinic, patients too."""
    found = session.get(Account, account_id)
    return found if found is not None and found.clinic_id == clinic_id else None


def disable(session: Session, account: Account) -> None:
    """Their sessions end with it, and they cannot sign in until they are enabled again."""
    account.disabled_at = database_now(session)
    accounts.end_logins(session, account.id)


def enable(account: Account) -> None:
    account.disabled_at = None


def change_role(
    session: Session, account: Account, role: Role, *, registration_number: str | None
) -> None:
    """Give somebody of the staff another role; their sessions end.

    Raises:
        CannotChangeError: for patients, and for a dermatologist without name or number.

    """
    if account.role not in STAFF or role not in STAFF:
        raise CannotChangeError("A patient stays a patient. Invite the person with a new address.")
    number = registration_number or account.registration_number
    named = account.family_name is not None and account.given_name is not None
    if role is Role.DERMATOLOGIST and not (number and named):
        raise CannotChangeError("A dermatologist needs a registration number. Add it.")
    account.role = role
    account.registration_number = number
    session.flush()
    accounts.end_logins(session, account.id)


def reset_second_factor(session: Session, account: Account) -> None:
    """Take every second factor away, for somebody who lost theirs; their sessions end.

    The password stays and nobody learns it. Staff set up a new factor at their next sign-in.
    """
    account.totp_secret_sealed = None
    for passkey in session.scalars(select(Passkey).where(Passkey.account_id == account.id)):
        session.delete(passkey)
    recovery_codes.remove(session, account.id)
    accounts.end_logins(session, account.id)
    notices.tell(session, account, NoticeKind.FACTOR_REMOVED)
