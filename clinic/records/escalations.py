"""Escalations as rows: which cases to look at, what was told of them, and to whom."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.escalation import CaseDates, Level, Limit, Promise, SecondReadDates, Step
from clinic.records import second_reads
from clinic.records.db import database_now
from clinic.records.models import Escalation, SecondRead, SignedReport, Submission


def to_look_at(session: Session, *, limit: int) -> list[Submission]:
    """Cases whose time to be looked at has come, locked; those of another round are passed by."""
    query = select(Submission).where(
        Submission.escalate_at.is_not(None), Submission.escalate_at <= database_now(session)
    )
    locked = query.order_by(Submission.escalate_at).limit(limit)
    locked = locked.with_for_update(skip_locked=True, key_share=True)
    return list(session.scalars(locked.execution_options(populate_existing=True)))


def dates_of(session: Session, rows: Sequence[Submission]) -> dict[str, CaseDates]:
    """What the rules need, by case; of a signed case the newest version counts."""
    ids = [row.id for row in rows]
    newest = func.max(SignedReport.signed_at)
    reports = select(SignedReport.submission_id, newest).where(SignedReport.submission_id.in_(ids))
    signed = dict(session.execute(reports.group_by(SignedReport.submission_id)).all())
    waiting = second_reads.without_hold(session, ids)
    return {
        row.id: CaseDates(
            received_at=row.received_at,
            due_at=row.due_at,
            signed_at=signed.get(row.id),
            told_by=row.told_by,
            told_at=row.told_at,
            told_before=row.first_told_at is not None,
            second_read=_second_read(waiting.get(row.id)),
        )
        for row in rows
    }


def _second_read(row: SecondRead | None) -> SecondReadDates | None:
    return SecondReadDates(row.asked_at, row.due_at) if row else None


def steps_told(
    session: Session, submission_ids: Collection[str]
) -> dict[str, dict[Step, datetime]]:
    """What was told before, by case, and when last."""
    found: dict[str, dict[Step, datetime]] = {one: {} for one in submission_ids}
    query = select(Escalation).where(Escalation.submission_id.in_(found))
    for row in session.scalars(query.order_by(Escalation.at)):
        found[row.submission_id][Promise(row.promise), Level(row.level)] = row.at
    return found


def add(
    session: Session, row: Submission, limit: Limit, level: Level, *, told: Sequence[str]
) -> Escalation:
    """Write down that these accounts were told, in the caller's transaction."""
    escalation = Escalation(
        submission_id=row.id,
        promise=limit.promise,
        level=level,
        clinic_id=row.clinic_id,
        due_at=limit.due_at,
        at=database_now(session),
        told=list(told),
    )
    session.add(escalation)
    session.flush()
    return escalation


def newest(session: Session, *, clinic_id: str, limit: int) -> list[Escalation]:
    query = select(Escalation).where(Escalation.clinic_id == clinic_id)
    return list(session.scalars(query.order_by(Escalation.at.desc()).limit(limit)))


def counts(
    session: Session, clinic_ids: Collection[str], *, since: datetime
) -> dict[tuple[Promise, Level], int]:
    """How many of each kind were written since then."""
    query = select(Escalation.promise, Escalation.level, func.count()).where(
        Escalation.clinic_id.in_(clinic_ids), Escalation.at >= since
    )
    rows = session.execute(query.group_by(Escalation.promise, Escalation.level))
    found = {(Promise(promise), Level(level)): count for promise, level, count in rows}
    return {
        (promise, level): found.get((promise, level), 0) for promise in Promise for level in Level
    }
