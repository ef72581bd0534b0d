"""What a reader thinks before the computer's view is shown, and the times of their work on a case.

A row of FirstRead opens the computer's view to its reader; a row of Reading opens nothing.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.records.db import database_now
from clinic.records.models import FirstRead, Reading, Submission


@dataclass(frozen=True)
class Impression:
    """The likeliest class and, in order, up to two others; how sure; and how urgent.

    `urgency` is the place in clinic.urgency.ORDER, None in reads of earlier versions.
    """

    impression: str
    confidence: str
    alternatives: tuple[str, ...] = ()
    urgency: int | None = None


def record(session: Session, submission_id: str, *, reader_id: str, blind: Impression) -> None:
    """Store the blind impression; this reader's first one stays."""
    _lock(session, submission_id)
    earlier = find(session, submission_id)
    if earlier is not None and earlier.reader_id == reader_id:
        return
    if earlier is not None:
        session.delete(earlier)
        session.flush()
    session.add(
        FirstRead(
            submission_id=submission_id,
            reader_id=reader_id,
            impression=blind.impression,
            alternatives=list(blind.alternatives),
            confidence=blind.confidence,
            urgency=blind.urgency,
            recorded_at=database_now(session),
        )
    )
    session.flush()


def find(session: Session, submission_id: str) -> FirstRead | None:
    return session.get(FirstRead, submission_id, populate_existing=True)


def start(session: Session, submission_id: str, *, reader_id: str) -> None:
    """Note when the reader has the open case before them; the first time counts."""
    key = (submission_id, reader_id)
    if session.get(Reading, key) is not None:
        return
    _lock(session, submission_id)
    if session.get(Reading, key, populate_existing=True) is None:
        now = database_now(session)
        session.add(Reading(submission_id=submission_id, reader_id=reader_id, started_at=now))
        session.flush()


def reveal(session: Session, submission_id: str, *, reader_id: str) -> None:
    """Note when the reader is given the computer's view; the first time counts."""
    row = _locked(session, submission_id, reader_id)
    if row is not None and row.revealed_at is None:
        row.revealed_at = max(database_now(session), row.started_at)
        session.flush()


def decide(session: Session, submission_id: str, *, reader_id: str) -> None:
    """Note when the reader signs; an amendment changes nothing here."""
    row = _locked(session, submission_id, reader_id)
    if row is not None and row.decided_at is None:
        row.decided_at = max(database_now(session), row.revealed_at or row.started_at)
        session.flush()


def reading(session: Session, submission_id: str, *, reader_id: str) -> Reading | None:
    return session.get(Reading, (submission_id, reader_id), populate_existing=True)


def _locked(session: Session, submission_id: str, reader_id: str) -> Reading | None:
    query = select(Reading).where(
        Reading.submission_id == submission_id, Reading.reader_id == reader_id
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def _lock(session: Session, submission_id: str) -> None:
    """Let two tabs of one reader write one after the other."""
    query = select(Submission.id).where(Submission.id == submission_id)
    session.execute(query.with_for_update(key_share=True))
