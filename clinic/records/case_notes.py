"""Notes among the readers of a case. They stay as they were written; no patient sees them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.records.db import database_now
from clinic.records.models import CaseNote, SealedObject, Submission


def write(session: Session, case: Submission, *, author_id: str, sealed: SealedObject) -> CaseNote:
    row = CaseNote(
        submission_id=case.id,
        clinic_id=case.clinic_id,
        author_id=author_id,
        object_id=sealed.id,
        written_at=database_now(session),
    )
    session.add(row)
    session.flush()
    return row


def of_case(session: Session, case_id: str) -> list[CaseNote]:
    """The oldest first."""
    query = select(CaseNote).where(CaseNote.submission_id == case_id)
    return list(session.scalars(query.order_by(CaseNote.written_at, CaseNote.id)))
