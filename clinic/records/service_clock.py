"""Due times as the clinic's calendar counts them."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.due_time import Clock, due_at
from clinic.records.models import Clinic, Holiday


def due(session: Session, *, clinic_id: str, clock: Clock, start: datetime) -> datetime:
    """When `clock` ends for a case of this clinic that began at `start`."""
    clinic = session.get_one(Clinic, clinic_id)
    days = set(session.scalars(select(Holiday.day).where(Holiday.clinic_id == clinic_id)))
    return due_at(clock, start=start, holidays=days, timezone=ZoneInfo(clinic.time_zone))
