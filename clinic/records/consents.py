"""Consents as rows: recorded, never changed, and asked anew at each use."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.consent import FOR_CARE, TEXT_VERSION, ConsentDecision, Purpose, in_force
from clinic.records.db import database_now
from clinic.records.models import Consent, Patient, Submission
from clinic.submission import CaseState


@dataclass(frozen=True)
class CareWithdrawn:
    """A patient who no longer wants care here, and how many of their cases are open."""

    record_number: str
    since: datetime
    open_cases: int


def record(session: Session, patient_id: str, decisions: Iterable[ConsentDecision]) -> None:
    """Add decisions that hold from now on.

    A decision follows those before it also where the clock went back meanwhile.
    """
    last = max((row.recorded_at for row in history(session, patient_id)), default=None)
    now = database_now(session)
    if last is not None and last >= now:
        now = last + timedelta(microseconds=1)
    for one in decisions:
        session.add(
            Consent(
                patient_id=patient_id,
                purpose=one.purpose,
                permitted=one.permitted,
                valid_until=one.valid_until,
                text_version=TEXT_VERSION,
                recorded_at=now,
            )
        )
    session.flush()


def history(session: Session, patient_id: str) -> list[Consent]:
    """Every decision of a patient, oldest first."""
    query = select(Consent).where(Consent.patient_id == patient_id)
    return list(session.scalars(query.order_by(Consent.recorded_at)))


def newest(session: Session, patient_id: str) -> list[Consent]:
    """The newest decision of each purpose."""
    return list({row.purpose: row for row in history(session, patient_id)}.values())


def permitted_purposes(session: Session, patient_id: str) -> set[str]:
    """The purposes whose newest decision permits now."""
    now = database_now(session)
    return {row.purpose for row in newest(session, patient_id) if is_in_force(row, now)}


def permits(session: Session, patient_id: str, purpose: str) -> bool:
    """Whether the newest decision on this purpose permits now; without any it does not."""
    return purpose in permitted_purposes(session, patient_id)


def permits_computer(session: Session, patient_id: str) -> bool:
    """Whether the computer may sort this patient's photos now."""
    return permitted_purposes(session, patient_id) >= FOR_CARE | {Purpose.AI_ASSISTANCE}


def is_in_force(row: Consent, now: datetime) -> bool:
    return in_force(permitted=row.permitted, valid_until=row.valid_until, at=now)


def care_withdrawn(session: Session, *, clinic_id: str, limit: int) -> list[CareWithdrawn]:
    """Patients of a clinic whose newest decision on care is no, newest first."""
    last = (
        select(Consent.patient_id, func.max(Consent.recorded_at).label("at"))
        .where(Consent.purpose == Purpose.CARE)
        .group_by(Consent.patient_id)
        .subquery()
    )
    refused = (
        select(Consent, Patient)
        .join(Patient, Patient.id == Consent.patient_id)
        .join(last, (last.c.patient_id == Consent.patient_id) & (last.c.at == Consent.recorded_at))
        .where(Consent.purpose == Purpose.CARE, ~Consent.permitted)
        .where(Patient.clinic_id == clinic_id)
        .order_by(Consent.recorded_at.desc())
        .limit(limit)
    )
    return [
        CareWithdrawn(patient.record_number, consent.recorded_at, _open_cases(session, patient.id))
        for consent, patient in session.execute(refused).all()
    ]


def _open_cases(session: Session, patient_id: str) -> int:
    query = select(func.count()).select_from(Submission)
    query = query.where(Submission.patient_id == patient_id)
    return session.scalar(query.where(Submission.case_state != CaseState.SIGNED)) or 0
