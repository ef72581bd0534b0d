"""The dermatologists of a clinic who are at work: who can sign in, and have a case."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from clinic.access import Role
from clinic.records.models import Account, Submission


def is_at_work() -> ColumnElement[bool]:
    """Of the rows of Account: can sign in."""
    return Account.disabled_at.is_(None)


def at_work(session: Session, account_id: str | None) -> Account | None:
    """The account, if it can sign in."""
    account = session.get(Account, account_id) if account_id else None
    return account if account is not None and account.disabled_at is None else None


def nobody_at_work_has_it() -> ColumnElement[bool]:
    """Of the rows of Submission: nobody has the case, or only somebody who left."""
    left = select(Account.id).where(~is_at_work())
    return or_(Submission.claimed_by.is_(None), Submission.claimed_by.in_(left))


def of_clinic(session: Session, clinic_id: str, *, but: Collection[str | None]) -> list[Account]:
    """The dermatologists of a clinic who are at work, by name, without `but`."""
    query = select(Account).where(
        Account.clinic_id == clinic_id,
        Account.role == Role.DERMATOLOGIST,
        is_at_work(),
        Account.id.not_in([one for one in but if one is not None]),
    )
    return list(session.scalars(query.order_by(Account.family_name, Account.given_name)))
