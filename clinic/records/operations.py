"""What operators look at: queue, service times, programs, keys, audit chain. No personal data.

Every query is bounded, so that a million cases cost no more than ten thousand: counts stop at CAP,
times are of the newest WINDOW results, and each condition is the beginning of an index. The
snapshot is one moment for the operations page, /invariants and /metrics alike.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles

from sqlalchemy import ColumnElement, CursorResult, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.escalation import Step
from clinic.photo_reject import RejectReason
from clinic.records import erasure_requests, escalations, keys
from clinic.records.db import database_now
from clinic.records.erasure_requests import Waiting
from clinic.records.models import (
    AuditCheck,
    AuditEntry,
    AuditHead,
    Clinic,
    FirstRead,
    KeyRequest,
    ProcessKey,
    ScreeningResult,
    SignedReport,
    Submission,
)
from clinic.submission import (
    CaseEvent,
    CaseState,
    ScreeningEvent,
    ScreeningState,
    next_case_state,
    next_screening_state,
    source_states,
)
from clinic.urgency import ORDER

CAP = 10_000  # a count of this size means "this many or more"
WINDOW = 500
LATEST = timedelta(hours=1)
ALIVE_WITHIN = timedelta(seconds=45)
LISTED_WITHIN = timedelta(days=1)
DUE_SOON = timedelta(hours=4)
ESCALATIONS_WINDOW = timedelta(days=28)
KEEPER_WINDOW = timedelta(minutes=5)
OTHER_REASON = "other"  # a reader asked, or the photo arrived damaged

URGENCIES: tuple[int | None, ...] = (*range(len(ORDER)), None)


@dataclass(frozen=True)
class Depth:
    """Cases of one state and urgency (None: not sorted yet), and when the one in front arrived."""

    state: str
    urgency: int | None
    count: int
    oldest: datetime | None


@dataclass(frozen=True)
class Promise:
    """Cases of one urgency that wait for a signature: past their due time, and nearly."""

    urgency: int
    overdue: int
    due_soon: int


@dataclass(frozen=True)
class Times:
    """Seconds of one stage over the newest results."""

    stage: str
    median: float
    p95: float
    longest: float


@dataclass(frozen=True)
class Recent:
    """The newest results: how many in the last hour, and what the newest WINDOW of them took.

    `machines`: how many were computed by each engine on each device.
    """

    last_hour: int
    stages: tuple[Times, ...]
    attempts: dict[int, int]
    without_ai: int
    machines: dict[tuple[str, str], int]
    to_report: Times | None


@dataclass(frozen=True)
class KeyService:
    """Requests to the keeper in the last minutes."""

    waiting: int
    oldest_waiting: datetime | None
    granted: int
    refused: int


@dataclass(frozen=True)
class AuditChain:
    """The chain's head, and what the last walk along all of it found."""

    head: int
    checked_at: datetime | None
    checked_entries: int
    problem: str | None


@dataclass(frozen=True)
class Snapshot:
    """The state of the installation at one moment of the database's clock."""

    taken_at: datetime
    depths: tuple[Depth, ...]
    oldest_due: datetime | None
    never_hinted: datetime | None
    expired_leases: int
    dead: int
    promises: tuple[Promise, ...]
    retakes: dict[str, int]
    escalations: dict[Step, int]
    recent: Recent
    key_service: KeyService
    workers: tuple[ProcessKey, ...]
    audit: AuditChain
    epoch_ends_at: datetime | None  # the chain of epoch keys, up to its first gap
    next_epoch: bool
    last_emergency: datetime | None
    erasures: Waiting

    @property
    def alive_workers(self) -> tuple[ProcessKey, ...]:
        return tuple(one for one in self.workers if is_alive(one, self.taken_at))


def snapshot(session: Session) -> Snapshot:
    now = database_now(session)
    clinics = list(session.scalars(select(Clinic.id)))
    return Snapshot(
        taken_at=now,
        depths=(*_screening_depths(session), *_case_depths(session, clinics)),
        oldest_due=_oldest_due(session, now),
        never_hinted=_oldest_without_hint(session, now),
        expired_leases=_expired_leases(session, now),
        dead=_capped(session, *_dead_in_review()),
        promises=tuple(_promises(session, clinics, now)),
        retakes=_retakes(session, clinics),
        escalations=escalations.counts(session, clinics, since=now - ESCALATIONS_WINDOW),
        recent=_recent(session, clinics, now),
        key_service=_key_service(session, now),
        workers=_processes(session, "worker", now),
        audit=audit_chain(session),
        epoch_ends_at=keys.sealable_until(session),
        next_epoch=keys.has_next_epoch(session),
        last_emergency=_last_emergency(session),
        erasures=erasure_requests.waiting(session),
    )


def is_alive(process: ProcessKey, now: datetime) -> bool:
    return now - process.last_seen_at < ALIVE_WITHIN


def _capped(session: Session, *conditions: ColumnElement[bool]) -> int:
    some = select(literal(1)).select_from(Submission).where(*conditions).limit(CAP).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _in(state: ScreeningState) -> ColumnElement[bool]:
    """The condition of a partial index, in literal words for the planner."""
    return Submission.screening_state == literal(state, literal_execute=True)


def _screening_depths(session: Session) -> Iterable[Depth]:
    """The computer's queue is short while all is well: its first CAP rows are read."""
    for state in (ScreeningState.QUEUED, ScreeningState.RUNNING):
        front = (
            select(Submission.urgency, Submission.queued_at).where(_in(state)).limit(CAP).subquery()
        )
        rows = session.execute(
            select(front.c.urgency, func.count(), func.min(front.c.queued_at)).group_by(
                front.c.urgency
            )
        )
        found = {row[0]: (row[1], row[2]) for row in rows}
        for urgency in URGENCIES:
            count, oldest = found.get(urgency, (0, None))
            yield Depth(state, urgency, count, oldest)


def _case_depths(session: Session, clinics: Sequence[str]) -> Iterable[Depth]:
    """By clinic, state and urgency: each count walks at most CAP entries of the review index."""
    for state in (CaseState.AWAITING_REVIEW, CaseState.UNREADABLE):
        for urgency in URGENCIES:
            places = [_place(clinic, state, urgency) for clinic in clinics]
            count = sum(_capped(session, *place) for place in places)
            fronts = [
                session.scalar(
                    select(Submission.received_at)
                    .where(*place)
                    .order_by(Submission.due_at, Submission.id)
                    .limit(1)
                )
                for place in places
            ]
            yield Depth(state, urgency, min(count, CAP), _earliest(fronts))


def _place(clinic_id: str, state: str, urgency: int | None) -> tuple[ColumnElement[bool], ...]:
    """The beginning of the index `submission_review_order`."""
    return (
        Submission.clinic_id == clinic_id,
        Submission.case_state == state,
        Submission.urgency.is_(None) if urgency is None else Submission.urgency == urgency,
    )


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((one for one in moments if one is not None), default=None)


def _oldest_due(session: Session, now: datetime) -> datetime | None:
    """Since when the case that could be taken first has been waiting for a worker."""
    return session.scalar(
        select(Submission.not_before)
        .where(_in(ScreeningState.QUEUED), Submission.not_before <= now)
        .order_by(Submission.received_at)
        .limit(1)
    )


def _oldest_without_hint(session: Session, now: datetime) -> datetime | None:
    """The same of the first cases in line that nobody has hinted yet: the relay's work."""
    front = (
        select(Submission.not_before, Submission.hinted_at)
        .where(_in(ScreeningState.QUEUED), Submission.not_before <= now)
        .order_by(Submission.received_at)
        .limit(CAP)
        .subquery()
    )
    oldest: datetime | None = session.scalar(
        select(func.min(front.c.not_before)).where(front.c.hinted_at.is_(None))
    )
    return oldest


def _expired_leases(session: Session, now: datetime) -> int:
    return _capped(session, _in(ScreeningState.RUNNING), Submission.lease_until < now)


def _dead_in_review() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The condition of the index `submission_dead_in_review`."""
    return (
        _in(ScreeningState.DEAD),
        Submission.case_state == literal(CaseState.AWAITING_REVIEW, literal_execute=True),
    )


def dead_cases(session: Session, *, clinic_id: str, limit: int) -> list[Submission]:
    """Cases of a clinic without the computer's view that wait for a reader, oldest first."""
    query = select(Submission).where(*_dead_in_review(), Submission.clinic_id == clinic_id)
    return list(session.scalars(query.order_by(Submission.received_at).limit(limit)))


def retry_dead(session: Session, submission_id: str) -> bool:
    """Send a case that the computer gave up on back to it, with all attempts anew.

    False: it is not dead any more, a reader holds it or has read it, or it is signed. While the
    computer works on it, readers do not see it; its urgency and due time stay.
    """
    now = database_now(session)
    changed = session.execute(
        update(Submission)
        .where(Submission.id == submission_id)
        .where(Submission.screening_state == ScreeningState.DEAD)
        .where(Submission.case_state.in_(source_states(CaseEvent.RETRY)))
        .where(or_(Submission.claim_until.is_(None), Submission.claim_until <= now))
        .where(~exists().where(FirstRead.submission_id == submission_id))
        .values(
            screening_state=next_screening_state(ScreeningState.DEAD, ScreeningEvent.REQUEUE),
            case_state=next_case_state(CaseState.AWAITING_REVIEW, CaseEvent.RETRY),
            attempt=0,
            not_before=now,
            queued_at=now,
            hinted_at=None,
            claimed_by=None,
            claim_until=None,
        ),
        execution_options={"synchronize_session": "fetch"},
    )
    assert isinstance(changed, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return changed.rowcount == 1


def _promises(session: Session, clinics: Sequence[str], now: datetime) -> Iterable[Promise]:
    for urgency in range(len(ORDER)):
        places = [_place(clinic, CaseState.AWAITING_REVIEW, urgency) for clinic in clinics]
        late, soon = Submission.due_at < now, Submission.due_at.between(now, now + DUE_SOON)
        overdue, due_soon = (
            sum(_capped(session, *place, when) for place in places) for when in (late, soon)
        )
        yield Promise(urgency, min(overdue, CAP), min(due_soon, CAP))


def _retakes(session: Session, clinics: Sequence[str]) -> dict[str, int]:
    """Why patients are asked for new photos, over at most CAP cases that wait for one."""
    query = select(Submission.retake_reason).where(
        Submission.clinic_id.in_(clinics), Submission.case_state == CaseState.UNREADABLE
    )
    counts = Counter(_reason_code(words or "") for words in session.scalars(query.limit(CAP)))
    return {code: counts[code] for code in (*RejectReason, OTHER_REASON)}


def _reason_code(words: str) -> str:
    for reason in RejectReason:
        if words.endswith(reason.sentence):
            return reason
    return OTHER_REASON


def _recent(session: Session, clinics: Sequence[str], now: datetime) -> Recent:
    newest = session.execute(
        select(ScreeningResult, Submission.attempt)
        .join(Submission, Submission.id == ScreeningResult.submission_id)
        .order_by(ScreeningResult.finished_at.desc())
        .limit(WINDOW)
    ).all()
    hour = (
        select(literal(1))
        .select_from(ScreeningResult)
        .where(ScreeningResult.finished_at > now - LATEST)
        .limit(10 * CAP)
        .subquery()
    )
    stages: dict[str, list[float]] = {}
    for result, _ in newest:
        for stage, value in result.stage_seconds.items():
            stages.setdefault(stage, []).append(value)
    return Recent(
        last_hour=session.scalar(select(func.count()).select_from(hour)) or 0,
        stages=tuple(_times(stage, values) for stage, values in stages.items()),
        attempts=dict(Counter(attempt for _, attempt in newest)),
        without_ai=sum(not result.ai_used for result, _ in newest),
        machines=dict(
            Counter((one.engine or "", one.device or "") for one, _ in newest if one.ai_used)
        ),
        to_report=_to_report(session, clinics),
    )


def _times(stage: str, values: Sequence[float]) -> Times:
    p95 = quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    return Times(stage, median(values), p95, max(values))


def _to_report(session: Session, clinics: Sequence[str]) -> Times | None:
    """Seconds from arrival to signature, over each clinic's newest reports."""
    seconds: list[float] = []
    for clinic in clinics:
        rows = session.execute(
            select(SignedReport.signed_at, Submission.received_at)
            .join(Submission, Submission.id == SignedReport.submission_id)
            .where(SignedReport.clinic_id == clinic, SignedReport.version == 1)
            .order_by(SignedReport.signed_at.desc(), SignedReport.id.desc())
            .limit(WINDOW)
        )
        seconds += [(signed - received).total_seconds() for signed, received in rows]
    return _times("to report", seconds) if seconds else None


def _key_service(session: Session, now: datetime) -> KeyService:
    """Over the requests of the last minutes, by the index on their time."""
    rows = session.execute(
        select(KeyRequest.state, func.count(), func.min(KeyRequest.created_at))
        .where(KeyRequest.created_at > now - KEEPER_WINDOW)
        .where((KeyRequest.state != "waiting") | (KeyRequest.expires_at > now))
        .group_by(KeyRequest.state)
    )
    found = {row[0]: (row[1], row[2]) for row in rows}
    waiting, oldest = found.get("waiting", (0, None))
    granted, refused = (found.get(state, (0, None))[0] for state in ("granted", "refused"))
    return KeyService(waiting, oldest, granted, refused)


def _processes(session: Session, program: str, now: datetime) -> tuple[ProcessKey, ...]:
    """Processes of a program that were seen lately; one row is written at each start of one."""
    query = select(ProcessKey).where(
        ProcessKey.program == program, ProcessKey.last_seen_at > now - LISTED_WITHIN
    )
    return tuple(session.scalars(query.order_by(ProcessKey.last_seen_at.desc()).limit(50)))


def audit_chain(session: Session) -> AuditChain:
    head, check = session.get(AuditHead, 1), session.get(AuditCheck, 1)
    return AuditChain(
        head=head.sequence if head else 0,
        checked_at=check.checked_at if check else None,
        checked_entries=check.entries if check else 0,
        problem=check.problem if check else None,
    )


def _last_emergency(session: Session) -> datetime | None:
    """When a case was last opened by the emergency copies: the partial index holds these alone."""
    emergency = AuditEntry.action == literal(AuditAction.EMERGENCY_ACCESS, literal_execute=True)
    query = select(AuditEntry.at).where(emergency)
    return session.scalar(query.order_by(AuditEntry.sequence.desc()).limit(1))
