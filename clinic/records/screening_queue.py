"""The queue of the computer's work: claim, heartbeat, finish, give back, give up.

The row is the queue and a message only a hint. Every change is a conditional UPDATE whose row
count decides; zero rows mean that somebody else got there first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Select, Update, case, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

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
WORKERS_DIED = "the worker stopped in every attempt while it held this case"
# Nothing is put off or held for so long: a time further ahead was set by a clock that was wrong.
LONGEST_AHEAD = timedelta(minutes=30)
# Without the computer a person looks sooner, not later.
URGENCY_WITHOUT_AI = place_of(Urgency.SUSPICIOUS)


@dataclass(frozen=True)
class Claim:
    """A submission held by one worker until its lease ends; the token fences off everybody else.

    What was claimed together has one token.
    """

    submission_id: str
    patient_id: str
    clinic_id: str
    token: str
    attempt: int
    ai_permitted: bool

    @property
    def is_suspect(self) -> bool:
        """It has failed before, perhaps by taking its worker with it: it runs alone."""
        return self.attempt > 1

    @property
    def is_last_look(self) -> bool:
        """Its workers died in every attempt: only whether the photo can be decoded is looked at."""
        return self.attempt > MAX_ATTEMPTS


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
    maps: list[dict[str, str]] | None = None
    analysed_view: str | None = None
    seven_point_score: int | None = None
    model_version: str | None = None
    model_fingerprint: str | None = None
    quality_measures: dict[str, float] | None = None
    engine: str | None = None
    device: str | None = None


def waiting_for_hint(session: Session, *, limit: int) -> list[str]:
    """Which of the `limit` oldest due submissions had no recent hint.

    One hint makes a worker drain the whole queue, so the front of a long queue is enough.
    """
    now = database_now(session)
    front = (
        _due(now)
        .with_only_columns(Submission.id, Submission.hinted_at, Submission.received_at)
        .order_by(Submission.received_at)
        .limit(limit)
        .subquery()
    )
    not_lately = or_(
        front.c.hinted_at.is_(None),
        front.c.hinted_at < now - HINT_AGAIN_AFTER,
        front.c.hinted_at > now + LONGEST_AHEAD,
    )
    return list(session.scalars(select(front.c.id).where(not_lately).order_by(front.c.received_at)))


def stamp_hints(session: Session, submission_ids: Sequence[str]) -> None:
    changed = update(Submission).where(Submission.id.in_(submission_ids))
    _run(session, changed.values(hinted_at=database_now(session)))


def hints_are_waiting(session: Session) -> bool:
    """Whether a hint of the last seconds was not taken up: its submission is due and queued."""
    now = database_now(session)
    hinted = _due(now).where(Submission.hinted_at > now - 2 * HINT_AGAIN_AFTER)
    return session.scalar(hinted.with_only_columns(Submission.id).limit(1)) is not None


def claim_batch(
    session: Session, *, hint: str | None, lease: timedelta, limit: int, suspects: bool = True
) -> list[Claim]:
    """Take up to `limit` due submissions: the hinted one first, then the oldest; none is an answer.

    A suspect is taken alone, and only if `suspects` are wanted; else it waits behind fresh ones.
    """
    now = database_now(session)
    found = _claimable(session, now, hint=hint, limit=limit, suspects=suspects)
    if not found:
        return []
    first_is_fresh = found[0].attempt == 0
    wanted = [one.id for one in found if one.attempt == 0] if first_is_fresh else [found[0].id]
    token = new_id()
    taken = session.scalars(
        update(Submission)
        .where(Submission.id.in_(wanted))
        .where(Submission.screening_state == ScreeningState.QUEUED)
        .values(
            screening_state=next_screening_state(ScreeningState.QUEUED, ScreeningEvent.CLAIM),
            token=token,
            lease_until=now + lease,
            attempt=Submission.attempt + 1,
        )
        .returning(Submission),
        execution_options={"synchronize_session": False, "populate_existing": True},
    )
    by_id = {row.id: _claim_of(row) for row in taken}
    return [by_id[one] for one in wanted if one in by_id]


def _claimable(
    session: Session, now: datetime, *, hint: str | None, limit: int, suspects: bool
) -> list[Submission]:
    """Lock candidates in the order of their claim; what another worker has locked is passed by."""
    due = _due(now) if suspects else _due(now).where(Submission.attempt == 0)
    due = due.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    hinted = list(session.scalars(due.where(Submission.id == hint))) if hint else []
    if hinted and (hinted[0].attempt > 0 or limit == 1):
        return hinted
    others = due.where(Submission.id != hint) if hint else due
    oldest = others.order_by(Submission.attempt, Submission.received_at)
    return hinted + list(session.scalars(oldest.limit(limit - len(hinted))))


def _due(now: datetime) -> Select[Submission]:
    waiting = Submission.screening_state == ScreeningState.QUEUED
    return select(Submission).where(waiting, _has_come(Submission.not_before, now))


def _has_come(at: InstrumentedAttribute[Any], now: datetime) -> ColumnElement[bool]:
    """Whether a time is over. One that a clock set while it was wrong must hold up no case."""
    return or_(at <= now, at > now + LONGEST_AHEAD)


def _claim_of(row: Submission) -> Claim:
    return Claim(
        row.id,
        row.patient_id,
        row.clinic_id,
        row.token or "",
        row.attempt,
        ai_permitted=row.ai_permitted,
    )


def extend_leases(session: Session, tokens: Collection[str], lease: timedelta) -> int:
    """The heartbeat of slow work: how many submissions are still held under these tokens."""
    until = database_now(session) + lease
    held = update(Submission).where(Submission.token.in_(tokens))
    held = held.where(Submission.screening_state == ScreeningState.RUNNING)
    return _run(session, held.values(lease_until=until))


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
    _replace_result(session, held, finding)
    _bring_forward(session, [held.submission_id], poor_photos=bool(finding.quality_flags))
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
    """Free what a dead worker held: (given up after the last look, queued again)."""
    now = database_now(session)
    overdue = list(
        session.scalars(
            select(Submission)
            .where(Submission.screening_state == ScreeningState.RUNNING)
            .where(_has_come(Submission.lease_until, now))
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
    )
    dead = [row.id for row in overdue if row.attempt > MAX_ATTEMPTS]
    again = [row.id for row in overdue if row.attempt <= MAX_ATTEMPTS]
    given_up = _dead_values(WORKERS_DIED)
    _run(session, update(Submission).where(Submission.id.in_(dead)).values(**given_up))
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


def _bring_forward(
    session: Session, submission_ids: Sequence[str], *, poor_photos: bool = False
) -> None:
    """Give each case the date of its urgency, counted from its arrival; a date never moves back.

    Where the photos are poor, a reader is to ask for better ones soon: that limit counts too, from
    the arrival of these photos.
    """
    for submission_id in submission_ids:
        row = session.get_one(Submission, submission_id, populate_existing=True)
        row.escalate_at = database_now(session)
        if row.urgency is None:
            continue
        service_clock.start_cancer_clock(row)
        times = service_clock.service_times(session, row.clinic_id)
        soon = [row.due_at, times.due_at(Clock(urgency_at(row.urgency)), start=row.received_at)]
        if poor_photos:
            soon.append(times.due_at(Clock.RETAKE, start=row.queued_at))
        row.due_at = min(soon)
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


def _replace_result(session: Session, held: Claim, finding: Finding) -> None:
    earlier = session.get(ScreeningResult, held.submission_id)
    if earlier is not None:  # a retake: the same case, analysed again on its new photos
        session.delete(earlier)
        session.flush()
    session.add(
        ScreeningResult(
            submission_id=held.submission_id,
            clinic_id=held.clinic_id,
            ai_used=finding.ai_used,
            probabilities=finding.probabilities,
            members=finding.members,
            spread=finding.spread,
            prediction_sets=finding.prediction_sets,
            outlier_score=finding.outlier_score,
            explained_class=finding.explained_class,
            maps=finding.maps,
            analysed_view=finding.analysed_view,
            quality_flags=list(finding.quality_flags),
            urgency=finding.urgency,
            reasons=list(finding.reasons),
            rule_reasons=list(finding.rule_reasons),
            seven_point_score=finding.seven_point_score,
            model_version=finding.model_version,
            model_fingerprint=finding.model_fingerprint,
            quality_measures=finding.quality_measures,
            engine=finding.engine,
            device=finding.device,
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
