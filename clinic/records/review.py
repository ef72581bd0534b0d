"""The dermatologists' queue: order, claims, first reads and signatures."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    Update,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from clinic.records import second_reads
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    FirstRead,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.submission import CaseEvent, CaseState, next_case_state, source_states
from clinic.urgency import ORDER

CLAIM_LIFE = timedelta(minutes=30)
PAGE_SIZE = 25
COUNT_LIMIT = 1000

# Written out, not sent as a parameter: only so does a database see that the partial indexes fit.
_IN_REVIEW = Submission.case_state == literal(CaseState.AWAITING_REVIEW, literal_execute=True)
_ORDER = (Submission.urgency, Submission.due_at, Submission.id)


class NotOwnerError(Exception):
    """The reader does not hold this case any more: the claim ran out, or somebody else took it."""


@dataclass(frozen=True)
class Cursor:
    """Where a page of the queue ended: its last row's place in the order."""

    urgency: int
    due_at: datetime
    submission_id: str


@dataclass(frozen=True)
class Filters:
    """At most one of these is usual; all are combined with AND."""

    mine: bool = False
    unclaimed: bool = False
    urgent: bool = False
    overdue: bool = False


@dataclass(frozen=True)
class QueueRow:
    """`holder` is who claimed the case last, whether or not the claim still counts."""

    submission: Submission
    result: ScreeningResult | None
    holder: Account | None


def queue_page(
    session: Session, *, clinic_id: str, reader_id: str, filters: Filters, after: Cursor | None
) -> list[QueueRow]:
    """One page plus one row (which tells that there is more): urgency, then time left."""
    now = database_now(session)
    found = _filtered(_open_ids(clinic_id), filters, reader_id, now)
    if after is not None:
        place = tuple_(*_ORDER)
        found = found.where(place > (after.urgency, after.due_at, after.submission_id))
    if filters.overdue:
        found = _by_urgency(found, limit=PAGE_SIZE + 1)
    query = (
        select(Submission, ScreeningResult, Account)
        .outerjoin(ScreeningResult, ScreeningResult.submission_id == Submission.id)
        .outerjoin(Account, Account.id == Submission.claimed_by)
        .where(Submission.id.in_(found.order_by(*_ORDER).limit(PAGE_SIZE + 1)))
        .order_by(*_ORDER)
    )
    return [QueueRow(*row) for row in session.execute(query)]


def _open_ids(clinic_id: str) -> Select[str]:
    return select(Submission.id).where(Submission.clinic_id == clinic_id, _IN_REVIEW)


def _by_urgency(found: Select[str], *, limit: int) -> Select[str]:
    """The first of each urgency: within one, the index of the order is an index of due times."""
    parts = [
        found.where(Submission.urgency == place).order_by(*_ORDER).limit(limit).subquery()
        for place in range(len(ORDER))
    ]
    return select(Submission.id).where(
        Submission.id.in_(union_all(*(select(part.c.id) for part in parts)))
    )


def _filtered(query: Select[str], filters: Filters, reader_id: str, now: datetime) -> Select[str]:
    if filters.mine:
        query = query.where(Submission.claimed_by == reader_id, Submission.claim_until > now)
    if filters.unclaimed:
        query = query.where(_free(now))
    if filters.urgent:
        query = query.where(Submission.urgency == 0)
    if filters.overdue:
        query = query.where(Submission.due_at < now)
    return query


def _free(now: datetime) -> ColumnElement[bool]:
    """Nobody holds it, and it does not wait for a second reader to come back to its own."""
    unclaimed = or_(Submission.claim_until.is_(None), Submission.claim_until <= now)
    return unclaimed & ~second_reads.holds_case()


def counts(session: Session, *, clinic_id: str, reader_id: str) -> dict[str, int]:
    """How many cases each filter of the queue would show; COUNT_LIMIT + 1 stands for any more."""
    now = database_now(session)
    shown = {
        "all": Filters(),
        "mine": Filters(mine=True),
        "unclaimed": Filters(unclaimed=True),
        "urgent": Filters(urgent=True),
        "overdue": Filters(overdue=True),
    }
    query = select(
        *(
            _bounded_count(_filtered(_open_ids(clinic_id), filters, reader_id, now), filters)
            for filters in shown.values()
        )
    )
    return dict(zip(shown, session.execute(query).one(), strict=True))


def _bounded_count(found: Select[str], filters: Filters) -> ScalarSelect[int]:
    limit = COUNT_LIMIT + 1
    if filters.overdue:
        found = _by_urgency(found, limit=limit)
    return select(func.count()).select_from(found.limit(limit).subquery()).scalar_subquery()


def claim_next(session: Session, *, clinic_id: str, reader_id: str) -> Submission | None:
    """Take the case that is due first and nobody holds; two readers never get the same one."""
    now = database_now(session)
    found = session.scalar(
        select(Submission)
        .where(Submission.clinic_id == clinic_id)
        .where(_IN_REVIEW)
        .where(_free(now))
        .order_by(*_ORDER)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if found is None:
        return None
    return found if claim(session, found.id, reader_id=reader_id) else None


def claim(session: Session, submission_id: str, *, reader_id: str) -> bool:
    """Take or keep a case. False: it is not in review, or another reader holds it."""
    now = database_now(session)
    return _changed(
        session,
        update(Submission)
        .where(Submission.id == submission_id)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .where(or_(_free(now), Submission.claimed_by == reader_id))
        .values(claimed_by=reader_id, claim_until=now + CLAIM_LIFE),
    )


def release(session: Session, submission_id: str, *, reader_id: str) -> bool:
    return _changed(
        session,
        update(Submission)
        .where(Submission.id == submission_id, Submission.claimed_by == reader_id)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .values(claimed_by=None, claim_until=None),
    )


@dataclass(frozen=True)
class Impression:
    """What the reader thinks before the computer's view is shown."""

    impression: str
    confidence: str


def record_first_read(
    session: Session, submission_id: str, *, reader_id: str, blind: Impression
) -> None:
    """Store the blind impression; the first one stays."""
    earlier = session.get(FirstRead, submission_id)
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
            confidence=blind.confidence,
            recorded_at=database_now(session),
        )
    )
    session.flush()


def first_read(session: Session, submission_id: str) -> FirstRead | None:
    return session.get(FirstRead, submission_id)


def result_of(session: Session, submission_id: str) -> ScreeningResult | None:
    return session.get(ScreeningResult, submission_id)


def results_of(session: Session, submission_ids: Iterable[str]) -> dict[str, ScreeningResult]:
    """What the computer found, by submission; one without a result is left out."""
    ids = list(submission_ids)
    query = select(ScreeningResult).where(ScreeningResult.submission_id.in_(ids))
    return {row.submission_id: row for row in session.scalars(query)}


@dataclass(frozen=True)
class Decision:
    """What the dermatologist decided; the two texts are sealed already."""

    diagnosis: str
    icd10cm: str
    confidence: str
    image_quality: str
    plan: str
    agreement: str
    override_reason: str | None
    finding: SealedObject
    letter: SealedObject


def sign(session: Session, row: Submission, *, reader_id: str, decision: Decision) -> SignedReport:
    """Close the case with a signed finding, once.

    Raises:
        NotOwnerError: the case is not in review, this reader does not hold it now, or it waits
            for a second reader.

    """
    now = database_now(session)
    closed = _changed(
        session,
        update(Submission)
        .where(Submission.id == row.id, Submission.claimed_by == reader_id)
        .where(Submission.claim_until > now)
        .where(Submission.case_state.in_(source_states(CaseEvent.SIGN)))
        .where(~second_reads.holds_case())
        .values(case_state=next_case_state(CaseState.AWAITING_REVIEW, CaseEvent.SIGN)),
    )
    if not closed:
        raise NotOwnerError
    report = SignedReport(
        submission_id=row.id,
        patient_id=row.patient_id,
        clinic_id=row.clinic_id,
        version=1,
        signer_id=reader_id,
        diagnosis=decision.diagnosis,
        icd10cm=decision.icd10cm,
        confidence=decision.confidence,
        image_quality=decision.image_quality,
        plan=decision.plan,
        agreement=decision.agreement,
        override_reason=decision.override_reason,
        finding_object_id=decision.finding.id,
        letter_object_id=decision.letter.id,
        signed_at=now,
    )
    session.add(report)
    session.flush()
    return report


def request_retake(session: Session, submission_id: str, *, reader_id: str, reason: str) -> bool:
    """Ask the patient for new photos. False: this reader does not hold the case now.

    The claim ends, but the case keeps in mind whose it was: the new photos come back to them.
    """
    now = database_now(session)
    event = CaseEvent.RETAKE_REQUESTED
    return _changed(
        session,
        update(Submission)
        .where(Submission.id == submission_id, Submission.claimed_by == reader_id)
        .where(Submission.claim_until > now)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .values(
            case_state=next_case_state(CaseState.AWAITING_REVIEW, event),
            retake_reason=reason,
            claim_until=None,
        ),
    )


def _changed(session: Session, statement: Update) -> bool:
    result = session.execute(statement, execution_options={"synchronize_session": "fetch"})
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return result.rowcount == 1
