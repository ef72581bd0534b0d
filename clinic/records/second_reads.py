"""Second reads: asked for, taken, recorded, compared; each move is a conditional UPDATE.

Nobody reads a case twice: not its own reader, and not who gave a second opinion before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, aliased

from clinic.access import SecondReader
from clinic.double_read import Opinion, ReadReason, ReadState
from clinic.records import service_clock
from clinic.records.case_lock import lock_case
from clinic.records.db import database_now
from clinic.records.models import (
    FirstRead,
    SealedObject,
    SecondRead,
    SignedReport,
    Submission,
)
from clinic.submission import CaseState

READ_LIFE = timedelta(minutes=30)
AUDIT_WITHIN = timedelta(days=5)  # of working time: nobody waits for it
ADJUDICATE_WITHIN = timedelta(days=2)
LONGEST_LIST = 100
READABLE = (CaseState.AWAITING_REVIEW, CaseState.SIGNED)

# Written out, not sent as a parameter: only so does a database see that the partial index fits.
_OPEN = SecondRead.state == literal(ReadState.OPEN, literal_execute=True)


class AlreadyAskedError(Exception):
    """A second read of this case is open already, or the case is not where one can be asked for."""


class NotYoursError(Exception):
    """Another reader has this second read, or it is closed."""


@dataclass(frozen=True)
class NewRead:
    """A wish for a second read. The two fields with `first` tell what the case's reader thinks."""

    reason: ReadReason
    blind: bool
    holds: bool
    asked_by: str | None = None
    asked_of: str | None = None
    first_diagnosis: str | None = None
    first_plan: str | None = None
    question: SealedObject | None = None


@dataclass(frozen=True)
class SecondOpinion:
    """A second reader's opinion; `differential` holds one to three groups, the likeliest first."""

    differential: Sequence[str]
    confidence: str
    plan: str
    note: SealedObject | None = None


def holds_case() -> ColumnElement[bool]:
    """A condition on submissions: nothing is signed before an open second read is there."""
    return exists().where(SecondRead.submission_id == Submission.id, _OPEN, SecondRead.holds)


def ask(session: Session, case: Submission, new: NewRead) -> SecondRead:
    """Ask for a second read; one is open at a time. One that holds no case is watched anew.

    Raises:
        AlreadyAskedError: one is open, or the case is neither in review nor signed.

    """
    lock_case(session, case.id)
    session.refresh(case, ["case_state"])
    if case.case_state not in READABLE or open_of_case(session, case.id) is not None:
        raise AlreadyAskedError
    now = database_now(session)
    row = SecondRead(
        submission_id=case.id,
        clinic_id=case.clinic_id,
        reason=new.reason,
        blind=new.blind,
        holds=new.holds,
        first_diagnosis=new.first_diagnosis,
        first_plan=new.first_plan,
        asked_by=new.asked_by,
        asked_of=new.asked_of,
        question_object_id=new.question.id if new.question else None,
        asked_at=now,
        due_at=_due(session, case, new, now),
    )
    session.add(row)
    if not new.holds:
        case.escalate_at = now
    session.flush()
    return row


def _due(session: Session, case: Submission, new: NewRead, now: datetime) -> datetime:
    """A read that the patient waits for keeps the clock of the case."""
    if new.holds:
        return case.due_at
    adjudication = new.reason is ReadReason.ADJUDICATION
    within = ADJUDICATE_WITHIN if adjudication else AUDIT_WITHIN
    return service_clock.after_working_time(
        session, clinic_id=case.clinic_id, start=now, duration=within
    )


def find(session: Session, read_id: str) -> SecondRead | None:
    return session.get(SecondRead, read_id, populate_existing=True)


def open_of_case(session: Session, case_id: str) -> SecondRead | None:
    return session.scalar(select(SecondRead).where(SecondRead.submission_id == case_id, _OPEN))


def without_hold(session: Session, case_ids: Sequence[str]) -> dict[str, SecondRead]:
    """The open second reads that have a time of their own, by case."""
    query = select(SecondRead).where(SecondRead.submission_id.in_(case_ids), _OPEN)
    return {row.submission_id: row for row in session.scalars(query.where(~SecondRead.holds))}


def of_case(session: Session, case_id: str) -> list[SecondRead]:
    """All second reads of a case, the oldest first, withdrawn ones too."""
    query = select(SecondRead).where(SecondRead.submission_id == case_id)
    return list(session.scalars(query.order_by(SecondRead.asked_at, SecondRead.id)))


def readers(session: Session, case_id: str) -> tuple[SecondReader, ...]:
    """Who is at a second read of this case now, or was until a moment ago."""
    query = _at_it(session).where(SecondRead.submission_id == case_id)
    return tuple(
        SecondReader(row.reader_id, blind=row.blind, done=row.state == ReadState.READ)
        for row in session.scalars(query)
        if row.reader_id is not None
    )


def reader_ids(session: Session, cases: Select[str]) -> frozenset[str]:
    """Who is at a second read of any of the cases with these ids now."""
    found = session.scalars(_at_it(session).where(SecondRead.submission_id.in_(cases)))
    return frozenset(row.reader_id for row in found if row.reader_id is not None)


def _at_it(session: Session) -> Select[SecondRead]:
    return select(SecondRead).where(
        SecondRead.reader_until > database_now(session), SecondRead.state != ReadState.WITHDRAWN
    )


def opinion_of(row: SecondRead) -> Opinion:
    """Of a second read that is recorded."""
    differential, plan = row.differential, row.plan
    if not differential or plan is None:
        raise ValueError("This second read is not recorded yet.")
    return Opinion(differential[0], plan)


def _may_take(reader_id: str, now: datetime) -> ColumnElement[bool]:
    """For the pool, for this reader, or left lying by who was asked; and not one's own case."""
    offered = or_(
        SecondRead.asked_of.is_(None), SecondRead.asked_of == reader_id, SecondRead.due_at <= now
    )
    free = or_(
        SecondRead.reader_id == reader_id,
        SecondRead.reader_until.is_(None),
        SecondRead.reader_until <= now,
    )
    readable = exists().where(
        Submission.id == SecondRead.submission_id, Submission.case_state.in_(READABLE)
    )
    return and_(_OPEN, offered, free, readable, ~_knows_case(reader_id))


def _knows_case(reader_id: str) -> ColumnElement[bool]:
    other = aliased(SecondRead)
    asked = SecondRead.asked_by == reader_id
    read_first = exists().where(
        FirstRead.submission_id == SecondRead.submission_id, FirstRead.reader_id == reader_id
    )
    signed = exists().where(
        SignedReport.submission_id == SecondRead.submission_id, SignedReport.signer_id == reader_id
    )
    read_second = exists().where(
        other.submission_id == SecondRead.submission_id,
        other.reader_id == reader_id,
        other.state == ReadState.READ,
    )
    holds = exists().where(
        Submission.id == SecondRead.submission_id, Submission.claimed_by == reader_id
    )
    return or_(func.coalesce(asked, False), read_first, signed, read_second, holds)


def may_take(session: Session, read_id: str, *, reader_id: str) -> bool:
    """Whether this reader could take it now."""
    found = select(SecondRead.id).where(
        SecondRead.id == read_id, _may_take(reader_id, database_now(session))
    )
    return session.scalar(found) is not None


def take(session: Session, read_id: str, *, reader_id: str) -> bool:
    """Take or keep a second read. False: it is not for this reader, or another one has it."""
    now = database_now(session)
    return _changed(
        session,
        update(SecondRead)
        .where(SecondRead.id == read_id, _may_take(reader_id, now))
        .values(
            reader_id=reader_id,
            reader_until=now + READ_LIFE,
            started_at=func.coalesce(SecondRead.started_at, now),
        ),
    )


def give_back(session: Session, read_id: str, *, reader_id: str) -> bool:
    return _changed(
        session,
        update(SecondRead)
        .where(SecondRead.id == read_id, SecondRead.reader_id == reader_id, _OPEN)
        .values(reader_id=None, reader_until=None, started_at=None),
    )


def withdraw(session: Session, read_id: str, *, asked_by: str, reason: str) -> bool:
    """Take one's own wish back. False: it was read meanwhile, or the clinic's rule asked."""
    return _changed(
        session,
        update(SecondRead)
        .where(SecondRead.id == read_id, SecondRead.asked_by == asked_by, _OPEN)
        .values(state=ReadState.WITHDRAWN, withdrawn_reason=reason, reader_until=None),
    )


def withdraw_all(session: Session, case_id: str, *, reason: str) -> None:
    """What was said, or is still to be said, of a case counts no more."""
    session.execute(
        update(SecondRead)
        .where(SecondRead.submission_id == case_id, SecondRead.state != ReadState.WITHDRAWN)
        .values(state=ReadState.WITHDRAWN, withdrawn_reason=reason, reader_until=None)
    )


def record(session: Session, row: SecondRead, opinion: SecondOpinion, *, reader_id: str) -> None:
    """Store the opinion, once. A lease that ran out is no harm while nobody else took over.

    Raises:
        NotYoursError: another reader has it now, or it is closed.

    """
    now = database_now(session)
    kept = _changed(
        session,
        update(SecondRead)
        .where(SecondRead.id == row.id, SecondRead.reader_id == reader_id, _OPEN)
        .values(
            state=ReadState.READ,
            differential=list(opinion.differential),
            confidence=opinion.confidence,
            plan=opinion.plan,
            note_object_id=opinion.note.id if opinion.note else None,
            read_at=now,
            reader_until=now + READ_LIFE,
        ),
    )
    if not kept:
        raise NotYoursError
    session.refresh(row)


def recorded(session: Session, case_id: str) -> list[SecondRead]:
    """The second reads of a case that count, the oldest first."""
    return [one for one in of_case(session, case_id) if one.state == ReadState.READ]


@dataclass(frozen=True)
class Work:
    """What waits for one reader: second reads to do, and answers to what they asked."""

    mine: list[SecondRead]
    pool: list[SecondRead]
    asked: list[SecondRead]


def work_of(session: Session, *, clinic_id: str, reader_id: str) -> Work:
    """The oldest promises first, at most LONGEST_LIST of each kind."""
    now = database_now(session)
    query = _to_do(clinic_id, reader_id, now).order_by(SecondRead.due_at, SecondRead.id)
    mine = or_(SecondRead.asked_of == reader_id, SecondRead.reader_id == reader_id)
    asked = (
        select(SecondRead)
        .where(SecondRead.clinic_id == clinic_id, SecondRead.asked_by == reader_id)
        .order_by(SecondRead.asked_at.desc())
    )
    return Work(
        mine=list(session.scalars(query.where(mine).limit(LONGEST_LIST))),
        pool=list(session.scalars(query.where(~func.coalesce(mine, False)).limit(LONGEST_LIST))),
        asked=list(session.scalars(asked.limit(LONGEST_LIST))),
    )


def _to_do(clinic_id: str, reader_id: str, now: datetime) -> Select[SecondRead]:
    return select(SecondRead).where(SecondRead.clinic_id == clinic_id, _may_take(reader_id, now))


def count_to_do(session: Session, *, clinic_id: str, reader_id: str) -> int:
    """How many second reads this reader could take now, LONGEST_LIST + 1 standing for any more."""
    found = _to_do(clinic_id, reader_id, database_now(session)).limit(LONGEST_LIST + 1)
    return session.scalar(select(func.count()).select_from(found.subquery())) or 0


def figures(session: Session, clinic_id: str) -> dict[str, int]:
    """How many second reads of the clinic are open, past their time, answered and withdrawn."""
    count = func.count().label("rows")
    query = select(SecondRead.state, count).where(SecondRead.clinic_id == clinic_id)
    found = session.execute(query.group_by(SecondRead.state))
    by_state = {row.state: row.rows for row in found}
    late = select(func.count()).where(
        SecondRead.clinic_id == clinic_id, _OPEN, SecondRead.due_at < database_now(session)
    )
    return {
        "open": by_state.get(ReadState.OPEN, 0),
        "late": session.scalar(late) or 0,
        "answered": by_state.get(ReadState.READ, 0),
        "withdrawn": by_state.get(ReadState.WITHDRAWN, 0),
    }


def paired_diagnoses(session: Session, clinic_id: str) -> list[tuple[str, str]]:
    """First and second reader's diagnosis of each case that two read; input for Cohen's kappa.

    Second opinions that were not blind, and third readers, do not count: they knew the first.
    """
    query = (
        select(SecondRead.first_diagnosis, SecondRead.differential)
        .where(SecondRead.clinic_id == clinic_id, SecondRead.state == ReadState.READ)
        .where(SecondRead.blind, SecondRead.first_diagnosis.is_not(None))
    )
    return [(first, second[0]) for first, second in session.execute(query) if first and second]


def _changed(session: Session, statement: Update) -> bool:
    result = session.execute(statement, execution_options={"synchronize_session": "fetch"})
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return result.rowcount == 1
