"""The queue of the computer's work: claim, heartbeat, finish, give back, give up.

The row is the queue and a message only a hint. Every change is a conditional UPDATE whose row
count decides; zero rows mean that somebody else got there first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, Select, Update, case, or_, select, update
from sqlalchemy.orm import Session

from clinic.due_time import Clock
from clinic.records import service_clock
from clinic.records.db import database_now, new_id
from clinic.records.models import ScreeningResult, Submission
from clinic.submission import (
    MAX_ATTEMPTS,
    CaseEvent,
    CaseState,
    ScreeningEvent,
    ScreeningState,
    next_case_state,
    next_screening_state,
)
from clinic.urgency import place_of, urgency_at
from ml.triage import Urgency

HINT_AGAIN_AFTER = timedelta(seconds=5)
# Without the computer a person looks sooner, not later.
URGENCY_WITHOUT_AI = place_of(Urgency.SUSPICIOUS)


@dataclass(frozen=True)
class Claim:
    """A submission held by one worker until its lease ends; the token fences off everybody else."""

    submission_id: str
    patient_id: str
    clinic_id: str
    token: str
    attempt: int
    ai_permitted: bool


@dataclass(frozen=True)
class Finding:
    """What a finished screening writes, besides the sealed objects.

    `reasons` holds every reason for the urgency. `rule_reasons` holds what may be read before the
    blind first read: rules and photo quality alone, no class and no probability.
    """

    ai_used: bool
    urgency: int
    reasons: tuple[str, ...]
    quality_flags: tuple[str, ...]
    stage_seconds: dict[str, float]
    rule_reasons: tuple[str, ...] = ()
    probabilities: dict[str, float] | None = None
    members: dict[str, dict[str, float]] | None = None
    spread: float | None = None
    prediction_sets: dict[str, list[str]] | None = None
    outlier_score: float | None = None
    explained_class: str | None = None
    analysed_view: str | None = None
    seven_point_score: int | None = None
    model_version: str | None = None
    model_fingerprint: str | None = None


def waiting_for_hint(session: Session, *, limit: int) -> list[str]:
    """Ids of queued submissions that are due and had no recent hint."""
    now = database_now(session)
    query = (
        select(Submission.id)
        .where(Submission.screening_state == ScreeningState.QUEUED, Submission.not_before <= now)
        .where(or_(Submission.hinted_at.is_(None), Submission.hinted_at < now - HINT_AGAIN_AFTER))
        .order_by(Submission.received_at)
    )
    return list(session.scalars(query.limit(limit)))


def stamp_hint(session: Session, submission_id: str) -> None:
    changed = update(Submission).where(Submission.id == submission_id)
    session.execute(changed.values(hinted_at=database_now(session)))


def claim(session: Session, *, hint: str | None, lease: timedelta) -> Claim | None:
    """Take the hinted submission, or else the one that has waited longest; None when none is due.

    One at a time: a suspect (a second or third attempt) is therefore always alone.
    """
    now = database_now(session)
    found = session.scalar(_claimable(hint).where(Submission.not_before <= now))
    if found is None:
        return None
    token = new_id()
    taken = _run(
        session,
        update(Submission)
        .where(Submission.id == found)
        .where(Submission.screening_state == ScreeningState.QUEUED)
        .values(
            screening_state=next_screening_state(ScreeningState.QUEUED, ScreeningEvent.CLAIM),
            token=token,
            lease_until=now + lease,
            attempt=Submission.attempt + 1,
        ),
    )
    if taken != 1:
        return None
    row = session.get_one(Submission, found, populate_existing=True)
    return Claim(
        row.id, row.patient_id, row.clinic_id, token, row.attempt, ai_permitted=row.ai_permitted
    )


def _claimable(hint: str | None) -> Select[str]:
    return (
        select(Submission.id)
        .where(Submission.screening_state == ScreeningState.QUEUED)
        .order_by(case((Submission.id == hint, 0), else_=1), Submission.attempt)
        .order_by(Submission.received_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def extend_lease(session: Session, held: Claim, lease: timedelta) -> bool:
    """The heartbeat of slow work. False: the lease was lost, stop."""
    until = database_now(session) + lease
    return _run(session, _held(held).values(lease_until=until)) == 1


def holds_lease(session: Session, submission_id: str, token: str | None) -> bool:
    row = session.get(Submission, submission_id, populate_existing=True)
    if row is None or token is None or row.lease_until is None:
        return False
    running = row.screening_state == ScreeningState.RUNNING
    return running and row.token == token and row.lease_until > database_now(session)


def finish(session: Session, held: Claim, finding: Finding) -> bool:
    """Write the one result and hand the case to people. False: fenced off, nothing was written."""
    values = {
        "screening_state": next_screening_state(ScreeningState.RUNNING, ScreeningEvent.FINISH),
        "case_state": next_case_state(CaseState.RECEIVED, CaseEvent.SCREENED),
        "urgency": _never_lower(finding.urgency),
        "lease_until": None,
        "token": None,
        "last_failure": None,
    }
    if _run(session, _held(held).values(**values)) != 1:
        return False
    _replace_result(session, held.submission_id, finding)
    _bring_forward(session, [held.submission_id])
    return True


def ask_for_retake(session: Session, held: Claim, reason: str) -> bool:
    """Known bad input: the patient is asked for another photo. False: fenced off."""
    values = {
        "screening_state": next_screening_state(ScreeningState.RUNNING, ScreeningEvent.FINISH),
        "case_state": next_case_state(CaseState.RECEIVED, CaseEvent.RETAKE_REQUESTED),
        "retake_reason": reason,
        "lease_until": None,
        "token": None,
    }
    return _run(session, _held(held).values(**values)) == 1


def give_back(session: Session, held: Claim, *, reason: str, delay: timedelta, spent: bool) -> bool:
    """Return the work to the queue. A fault outside the item gives the attempt back too."""
    if spent and held.attempt >= MAX_ATTEMPTS:
        return give_up(session, held, reason=reason)
    values: dict[str, Any] = {
        "screening_state": next_screening_state(ScreeningState.RUNNING, ScreeningEvent.GIVE_BACK),
        "not_before": database_now(session) + delay,
        "last_failure": reason[:200],
        "lease_until": None,
        "token": None,
        "hinted_at": None,
    }
    if not spent:
        values["attempt"] = Submission.attempt - 1
    return _run(session, _held(held).values(**values)) == 1


def give_up(session: Session, held: Claim, *, reason: str) -> bool:
    """Send the case to people as "AI unavailable", with the reason."""
    given_up = _run(session, _held(held).values(**_dead_values(reason))) == 1
    if given_up:
        _bring_forward(session, [held.submission_id])
    return given_up


def expire_leases(session: Session) -> tuple[list[str], list[str]]:
    """Free what a dead worker held: (given up after the last attempt, queued again)."""
    now = database_now(session)
    overdue = list(
        session.scalars(
            select(Submission)
            .where(Submission.screening_state == ScreeningState.RUNNING)
            .where(Submission.lease_until < now)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
    )
    dead = [row.id for row in overdue if row.attempt >= MAX_ATTEMPTS]
    again = [row.id for row in overdue if row.attempt < MAX_ATTEMPTS]
    lost = "the worker stopped three times while it held this case"
    _run(session, update(Submission).where(Submission.id.in_(dead)).values(**_dead_values(lost)))
    _bring_forward(session, dead)
    _run(
        session,
        update(Submission)
        .where(Submission.id.in_(again))
        .values(
            screening_state=ScreeningState.QUEUED, token=None, lease_until=None, hinted_at=None
        ),
    )
    return dead, again


def give_up_waiting(session: Session, *, waited: timedelta) -> list[str]:
    """Cases that no worker took for too long go to people without the computer's view."""
    limit = database_now(session) - waited
    waiting = (
        select(Submission.id)
        .where(Submission.screening_state == ScreeningState.QUEUED)
        .where(Submission.queued_at < limit)
    )
    ids = list(session.scalars(waiting.with_for_update(skip_locked=True)))
    reason = "no analysis worker was available"
    _run(session, update(Submission).where(Submission.id.in_(ids)).values(**_dead_values(reason)))
    _bring_forward(session, ids)
    return ids


def _bring_forward(session: Session, submission_ids: Sequence[str]) -> None:
    """Give each case the date of its urgency, counted from its arrival; a date never moves back."""
    for submission_id in submission_ids:
        row = session.get_one(Submission, submission_id, populate_existing=True)
        if row.urgency is None:
            continue
        clock = Clock(urgency_at(row.urgency))
        soon = service_clock.due(
            session, clinic_id=row.clinic_id, clock=clock, start=row.received_at
        )
        row.due_at = min(row.due_at, soon)
    session.flush()


def _dead_values(reason: str) -> dict[str, Any]:
    return {
        "screening_state": ScreeningState.DEAD,
        "case_state": next_case_state(CaseState.RECEIVED, CaseEvent.AI_UNAVAILABLE),
        "urgency": _never_lower(URGENCY_WITHOUT_AI),
        "last_failure": reason[:200],
        "lease_until": None,
        "token": None,
    }


def _never_lower(urgency: int) -> Any:
    """Suspicion only rises during a case: the smaller number is the more urgent one."""
    return case(
        (Submission.urgency.is_not(None) & (Submission.urgency < urgency), Submission.urgency),
        else_=urgency,
    )


def _replace_result(session: Session, submission_id: str, finding: Finding) -> None:
    earlier = session.get(ScreeningResult, submission_id)
    if earlier is not None:  # a retake: the same case, analysed again on its new photos
        session.delete(earlier)
        session.flush()
    session.add(
        ScreeningResult(
            submission_id=submission_id,
            ai_used=finding.ai_used,
            probabilities=finding.probabilities,
            members=finding.members,
            spread=finding.spread,
            prediction_sets=finding.prediction_sets,
            outlier_score=finding.outlier_score,
            explained_class=finding.explained_class,
            analysed_view=finding.analysed_view,
            quality_flags=list(finding.quality_flags),
            urgency=finding.urgency,
            reasons=list(finding.reasons),
            rule_reasons=list(finding.rule_reasons),
            seven_point_score=finding.seven_point_score,
            model_version=finding.model_version,
            model_fingerprint=finding.model_fingerprint,
            stage_seconds=finding.stage_seconds,
            finished_at=database_now(session),
        )
    )
    session.flush()


def _held(held: Claim) -> Update:
    return (
        update(Submission)
        .where(Submission.id == held.submission_id, Submission.token == held.token)
        .where(Submission.screening_state == ScreeningState.RUNNING)
    )


def _run(session: Session, statement: Update) -> int:
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return result.rowcount
