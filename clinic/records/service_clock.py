"""A clinic's service times as rows: its limits, its closed days, and who is told of a breach."""

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from clinic.access import STAFF, Role
from clinic.due_time import WORKING_DAYS, Clock, ServiceTimes, add_working_time, suspected_cancer_by
from clinic.records.models import (
    Account,
    Clinic,
    EscalationContact,
    Holiday,
    ServiceLimit,
    Submission,
)
from clinic.urgency import is_suspected_cancer


def service_times(session: Session, clinic_id: str) -> ServiceTimes:
    """What counts for this clinic now."""
    clinic = session.get_one(Clinic, clinic_id)
    rows = session.scalars(select(ServiceLimit).where(ServiceLimit.clinic_id == clinic_id))
    changed = {Clock(row.clock): row.working_days for row in rows}
    return ServiceTimes(
        working_days={**WORKING_DAYS, **changed},
        holidays=frozenset(holidays(session, clinic_id)),
        timezone=ZoneInfo(clinic.time_zone),
    )


def due(session: Session, *, clinic_id: str, clock: Clock, start: datetime) -> datetime:
    """When `clock` ends for a case of this clinic that began at `start`."""
    return service_times(session, clinic_id).due_at(clock, start=start)


def after_working_time(
    session: Session, *, clinic_id: str, start: datetime, duration: timedelta
) -> datetime:
    """`start` plus so much of this clinic's working time."""
    times = service_times(session, clinic_id)
    return add_working_time(start, duration, holidays=times.holidays, timezone=times.timezone)


def start_cancer_clock(row: Submission) -> None:
    """Set the 28-day date once cancer is suspected; nothing takes it back or moves it."""
    if row.told_by is None and is_suspected_cancer(row.urgency):
        row.told_by = suspected_cancer_by(row.received_at)


def set_limits(session: Session, clinic_id: str, working_days: Mapping[Clock, int]) -> None:
    """From now on these limits count; dates that were promised before stay as they are."""
    for clock, days in working_days.items():
        session.merge(ServiceLimit(clinic_id=clinic_id, clock=clock, working_days=days))
    session.flush()


def holidays(session: Session, clinic_id: str) -> list[date]:
    query = select(Holiday.day).where(Holiday.clinic_id == clinic_id)
    return list(session.scalars(query.order_by(Holiday.day)))


def add_holiday(session: Session, clinic_id: str, day: date) -> None:
    session.merge(Holiday(clinic_id=clinic_id, day=day))
    session.flush()


def remove_holiday(session: Session, clinic_id: str, day: date) -> bool:
    """False: the clinic was not closed on this day anyway."""
    row = session.get(Holiday, (clinic_id, day))
    if row is None:
        return False
    session.delete(row)
    session.flush()
    return True


def active_staff(session: Session, clinic_id: str) -> list[Account]:
    """Everybody of the clinic who can sign in and is no patient."""
    query = select(Account).where(
        Account.clinic_id == clinic_id, Account.role.in_(STAFF), Account.disabled_at.is_(None)
    )
    return list(session.scalars(query.order_by(Account.family_name, Account.id)))


def named_contacts(session: Session, clinic_id: str) -> set[str]:
    """The accounts that the clinic named."""
    query = select(EscalationContact.account_id).where(EscalationContact.clinic_id == clinic_id)
    return set(session.scalars(query))


def set_contacts(session: Session, clinic_id: str, account_ids: Collection[str]) -> None:
    session.execute(delete(EscalationContact).where(EscalationContact.clinic_id == clinic_id))
    for account_id in sorted(account_ids):
        session.add(EscalationContact(clinic_id=clinic_id, account_id=account_id))
    session.flush()


def contacts(session: Session, clinic_id: str) -> list[Account]:
    """Who is told now: those named who can still sign in, or else every administrator."""
    staff, named = active_staff(session, clinic_id), named_contacts(session, clinic_id)
    found = [one for one in staff if one.id in named]
    return found or [one for one in staff if one.role == Role.ADMINISTRATOR]
