"""Submissions as patients send them and as their owners see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from clinic.access import CaseFacts
from clinic.records import dermatologists, second_reads, service_clock
from clinic.records.db import database_now
from clinic.records.models import (
    CaseDraft,
    FirstRead,
    Reading,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.submission import CaseEvent, CaseState, ScreeningState, next_case_state

_Found = TypeVar("_Found")
RESERVED = timedelta(hours=12)  # of working time, half of what an urgent case has


@dataclass(frozen=True)
class NewSubmission:
    submission_id: str
    patient_id: str
    clinic_id: str
    body_site: str
    body_side: str
    ai_permitted: bool
    due_at: datetime


class NotYourSubmissionError(Exception):
    """The submission id belongs to somebody else's case."""


def create(session: Session, new: NewSubmission) -> Submission:
    """Add the row in state queued. The caller has checked `existing` in the same transaction."""
    now = database_now(session)
    row = Submission(
        id=new.submission_id,
        patient_id=new.patient_id,
        clinic_id=new.clinic_id,
        body_site=new.body_site,
        body_side=new.body_side,
        ai_permitted=new.ai_permitted,
        received_at=now,
        queued_at=now,
        due_at=new.due_at,
        not_before=now,
    )
    session.add(row)
    session.flush()
    return row


def existing(session: Session, submission_id: str, *, patient_id: str) -> Submission | None:
    """The submission of an idempotency key that was used before, if it is this patient's.

    Raises:
        NotYourSubmissionError: the id is taken by another patient's case.

    """
    row = session.get(Submission, submission_id)
    if row is not None and row.patient_id != patient_id:
        raise NotYourSubmissionError
    return row


def replace_photos(session: Session, row: Submission) -> None:
    """New photos arrive for a case that asked for them: it goes through screening again.

    What the computer and the reader said of the old photos says nothing about the new ones; the
    computer's view of them opens only after a first read of them. For RESERVED the case is kept for
    the reader who asked for them, and then it is anybody's.
    """
    now = database_now(session)
    keep = _reserved_until(session, row, now)
    session.execute(
        update(SealedObject)
        .where(SealedObject.submission_id == row.id)
        .where(SealedObject.kind.in_(["photo", "rendition", "heatmap", "retake", "draft"]))
        .values(current=False)
    )
    second_reads.withdraw_all(session, row.id, reason="new_photos")
    for kind in (ScreeningResult, FirstRead, Reading, CaseDraft):
        session.execute(delete(kind).where(kind.submission_id == row.id))
    row.case_state = next_case_state(CaseState(row.case_state), CaseEvent.PHOTOS_REPLACED)
    row.screening_state = ScreeningState.QUEUED
    row.attempt, row.not_before, row.hinted_at, row.queued_at = 0, now, None, now
    row.retake_reason, row.claim_until = None, keep
    session.flush()


def _reserved_until(session: Session, row: Submission, now: datetime) -> datetime | None:
    if dermatologists.at_work(session, row.claimed_by) is None:
        return None
    return service_clock.after_working_time(
        session, clinic_id=row.clinic_id, start=now, duration=RESERVED
    )


def stop_ai(session: Session, patient_id: str) -> None:
    """Let the computer judge none of a patient's cases that no worker has taken yet."""
    waiting = update(Submission).where(Submission.patient_id == patient_id)
    waiting = waiting.where(Submission.screening_state == ScreeningState.QUEUED)
    session.execute(waiting.values(ai_permitted=False))


def of_patient(session: Session, patient_id: str) -> Sequence[Submission]:
    query = select(Submission).where(Submission.patient_id == patient_id)
    return session.scalars(query.order_by(Submission.received_at.desc())).all()


def patients_of(session: Session, submission_ids: Sequence[str]) -> dict[str, str]:
    """Whose each of these submissions is: patients' ids by submission."""
    query = select(Submission.id, Submission.patient_id)
    rows = session.execute(query.where(Submission.id.in_(submission_ids)))
    return {row.id: row.patient_id for row in rows}


def find(session: Session, submission_id: str) -> Submission | None:
    return session.get(Submission, submission_id, populate_existing=True)


def facts(session: Session, row: Submission) -> CaseFacts:
    """What the policy needs to know of this case. A claim counts only while it lasts, in review."""
    first_read = session.get(FirstRead, row.id)
    signed = row.case_state == CaseState.SIGNED
    claimed = row.claim_until is not None and row.claim_until > database_now(session)
    alive = signed or (claimed and row.case_state == CaseState.AWAITING_REVIEW)
    unreadable = row.case_state == CaseState.UNREADABLE
    return CaseFacts(
        patient_id=row.patient_id,
        clinic_id=row.clinic_id,
        claimed_by=row.claimed_by if alive else None,
        first_read_by=first_read.reader_id if first_read else None,
        signed=signed,
        second_readers=second_reads.readers(session, row.id),
        photos_asked_by=row.claimed_by if unreadable else None,
        compared_by=_readers_of_later_visits(session, row),
        keeper_left=signed and dermatologists.at_work(session, row.claimed_by) is None,
    )


def _readers_of_later_visits(session: Session, row: Submission) -> frozenset[str]:
    later = _same_place(select(Submission.id), row).where(Submission.received_at > row.received_at)
    claimed = (
        select(Submission.claimed_by)
        .where(Submission.id.in_(later), Submission.case_state == CaseState.AWAITING_REVIEW)
        .where(Submission.claim_until > database_now(session))
    )
    first = frozenset(reader for reader in session.scalars(claimed) if reader is not None)
    return first | second_reads.reader_ids(session, later)


def earlier_visits(session: Session, row: Submission) -> Sequence[Submission]:
    """The same patient's earlier cases at the same body site in this clinic, the newest first."""
    query = _same_place(select(Submission), row).where(Submission.received_at < row.received_at)
    return session.scalars(query.order_by(Submission.received_at.desc())).all()


def _same_place(query: Select[_Found], row: Submission) -> Select[_Found]:
    """Without the side: patients call a spot on the back left one time and middle the next."""
    return query.where(
        Submission.patient_id == row.patient_id,
        Submission.clinic_id == row.clinic_id,
        Submission.body_site == row.body_site,
    )


def signed_report(session: Session, submission_id: str) -> SignedReport | None:
    """The newest version of the signed finding."""
    query = select(SignedReport).where(SignedReport.submission_id == submission_id)
    return session.scalar(query.order_by(SignedReport.version.desc()).limit(1))
