"""Due times as the clinic's calendar counts them."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.due_time import Clock, add_working_time, due_at
from clinic.records.models import Clinic, Holiday


def due(session: Session, *, clinic_id: str, clock: Clock, start: datetime) -> datetime:
    """When `clock` ends for a case of this clinic that began at `start`."""
    clinic = session.get_one(Clinic, clinic_id)
    days = set(session.scalars(select(Holiday.day).where(Holiday.clinic_id == clinic_id)))
    return due_at(clock, start=start, holidays=days, timezone=ZoneInfo(clinic.time_zone))


def after_working_time(
    session: Session, *, clinic_id: str, start: datetime, duration: timedelta
) -> datetime:
    """`start` plus so much of this clinic's working time."""
    clinic = session.get_one(Clinic, clinic_id)
    days = set(session.scalars(select(Holiday.day).where(Holiday.clinic_id == clinic_id)))
    zone = ZoneInfo(clinic.time_zone)
    return add_working_time(start, duration, holidays=days, timezone=zone)
