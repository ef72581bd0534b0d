"""Whom the actors of audit entries name, for the auditors of their clinic.

A patient is told by the record number: their name is sealed, and no auditor needs it.
"""

from collections.abc import Collection, Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.fhir_audit_event import EHR_PREFIX
from clinic.records.models import Account, EhrClient, Patient


def actor_names(session: Session, actors: Collection[str]) -> dict[str, str]:
    """The name of each actor that is still there; programs stand for themselves."""
    return dict(_names(session, actors))


def _names(session: Session, actors: Collection[str]) -> Iterator[tuple[str, str]]:
    people = select(Account, Patient.record_number).outerjoin(Patient).where(Account.id.in_(actors))
    for account, record_number in session.execute(people):
        yield account.id, f"Patient {record_number}" if record_number else staff_name(account)
    ids = [one.removeprefix(EHR_PREFIX) for one in actors if one.startswith(EHR_PREFIX)]
    systems = select(EhrClient.id, EhrClient.name).where(EhrClient.id.in_(ids))
    for client_id, name in session.execute(systems):
        yield f"{EHR_PREFIX}{client_id}", name


def staff_name(account: Account) -> str:
    """Such as `Bob Brown, dermatologist`; the role alone where no name was given."""
    name = " ".join(part for part in (account.given_name, account.family_name) if part)
    return f"{name}, {account.role}" if name else account.role.capitalize()
