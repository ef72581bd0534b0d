"""Who passed a case on, to whom and why: open cases and signed ones alike."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.hand_over import HandOverReason
from clinic.records.models import HandOver, Submission


def note_hand_over(
    session: Session,
    case: Submission,
    *,
    from_id: str,
    to_id: str | None,
    reason: HandOverReason,
    at: datetime,
) -> None:
    """Keep it with the case; `to_id` None stands for the pool."""
    new = HandOver(from_id=from_id, to_id=to_id, reason=reason, at=at)
    new.submission_id, new.clinic_id = case.id, case.clinic_id
    session.add(new)
    session.flush()


def last_hand_over(session: Session, submission_id: str) -> HandOver | None:
    query = select(HandOver).where(HandOver.submission_id == submission_id)
    return session.scalar(query.order_by(HandOver.at.desc()).limit(1))
