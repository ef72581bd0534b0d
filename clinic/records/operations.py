"""What the operator looks at: queue depth, dead cases, living programs. No personal data."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.records.models import AuditHead, ProcessKey, Submission
from clinic.submission import CaseState, ScreeningState


@dataclass(frozen=True)
class Depth:
    """How many cases stand in one state, by urgency (None: not sorted yet)."""

    state: str
    by_urgency: dict[int | None, int]
    oldest: datetime | None


def depths(session: Session) -> list[Depth]:
    """Cases by screening state while the computer works, and those that wait for a reader."""
    screening = [
        _depth(session, f"screening: {state}", Submission.screening_state == state)
        for state in (ScreeningState.QUEUED, ScreeningState.RUNNING)
    ]
    people = [
        _depth(session, f"case: {state.replace('_', ' ')}", Submission.case_state == state)
        for state in (CaseState.AWAITING_REVIEW, CaseState.UNREADABLE)
    ]
    return screening + people


def _depth(session: Session, name: str, condition: object) -> Depth:
    query = (
        select(Submission.urgency, func.count(), func.min(Submission.received_at))
        .where(condition)  # type: ignore[arg-type]
        .group_by(Submission.urgency)
    )
    rows = session.execute(query).all()
    oldest = min((row[2] for row in rows), default=None)
    return Depth(name, {row[0]: row[1] for row in rows}, oldest)


def dead_cases(session: Session, *, limit: int) -> list[Submission]:
    """Cases without the computer's view that still wait for a reader, oldest first."""
    query = (
        select(Submission)
        .where(Submission.screening_state == ScreeningState.DEAD)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .order_by(Submission.received_at)
    )
    return list(session.scalars(query.limit(limit)))


def newest_processes(session: Session) -> dict[str, ProcessKey]:
    """The process of each program that was seen last."""
    rows = session.scalars(select(ProcessKey).order_by(ProcessKey.last_seen_at))
    return {row.program: row for row in rows}


def audit_entries(session: Session) -> int:
    head = session.get(AuditHead, 1)
    return head.sequence if head else 0
