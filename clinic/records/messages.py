"""Messages between a patient and the reader of a case, and who is to answer them.

The reader who holds or signed the case answers; opening a message is no answer. One that they
leave lying, or that is nobody's to answer, any dermatologist of the clinic may take over: the case
is theirs from then on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Update, and_, exists, func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, aliased

from clinic.messaging import ANSWER_WITHIN, Refusal, refusal
from clinic.notices import NoticeKind
from clinic.records import dermatologists, notices, service_clock, submissions
from clinic.records.db import database_now
from clinic.records.models import Account, CaseMessage, Patient, SealedObject, Submission
from clinic.records.review_queue import changed_one
from clinic.submission import CaseState

LONGEST_LIST = 100
# Cases that nobody can claim from the queue, so that their messages need a taker of their own.
_OUTSIDE_THE_QUEUE = (CaseState.SIGNED, CaseState.UNREADABLE)


class CannotWriteError(Exception):
    """No further message can be written; the reason says why."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


def refused(session: Session, case: Submission) -> Refusal | None:
    """Why nobody can write about this case any more; None: they can."""
    written = select(func.count()).where(CaseMessage.submission_id == case.id)
    return refusal(
        signed_at=signed_at(session, case),
        written=session.scalar(written) or 0,
        now=database_now(session),
    )


def signed_at(session: Session, case: Submission) -> datetime | None:
    report = submissions.signed_report(session, case.id)
    return report.signed_at if report and case.case_state == CaseState.SIGNED else None


def write(
    session: Session, case: Submission, *, author: Account, sealed: SealedObject
) -> CaseMessage:
    """Add a message. The other side is told by a notice, once for all that it has not read yet.

    Raises:
        CannotWriteError: the case is closed for messages, or has too many.

    """
    reason = refused(session, case)
    if reason is not None:
        raise CannotWriteError(reason)
    from_patient = author.role == "patient"
    first = not _unread(session, case.id, from_patient=from_patient)
    now = database_now(session)
    row = CaseMessage(
        submission_id=case.id,
        clinic_id=case.clinic_id,
        author_id=author.id,
        from_patient=from_patient,
        object_id=sealed.id,
        sent_at=now,
        answer_by=_answer_by(session, case, now) if from_patient else None,
    )
    session.add(row)
    session.flush()
    if not from_patient:
        session.execute(
            _settled(session, case.id), execution_options={"synchronize_session": False}
        )
    receiver = _reader(session, case) if from_patient else _patient(session, case)
    if first and receiver is not None:
        notices.tell(session, receiver, NoticeKind.CASE_MESSAGE)
    return row


def need_no_answer(session: Session, case_id: str) -> bool:
    """A reader says so of what they have read. False: nothing of it waits for an answer."""
    read = _settled(session, case_id).where(CaseMessage.read_at.is_not(None))
    done = session.execute(read, execution_options={"synchronize_session": False})
    assert isinstance(done, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return done.rowcount > 0


def waits_for_answer(session: Session, case_id: str) -> bool:
    query = select(CaseMessage.id).where(CaseMessage.submission_id == case_id, _to_answer())
    return session.scalar(query.limit(1)) is not None


def _settled(session: Session, case_id: str) -> Update:
    return (
        update(CaseMessage)
        .where(CaseMessage.submission_id == case_id, _to_answer())
        .values(answered_at=database_now(session))
    )


def _to_answer() -> ColumnElement[bool]:
    """Messages of patients that no reader has answered, nor called in no need of an answer."""
    later = aliased(CaseMessage)
    # Who answers with an earlier version of the program leaves no mark but the answer.
    answer = exists().where(
        later.submission_id == CaseMessage.submission_id,
        ~later.from_patient,
        later.sent_at > CaseMessage.sent_at,
    )
    return and_(CaseMessage.from_patient, CaseMessage.answered_at.is_(None), ~answer)


def _unread(session: Session, case_id: str, *, from_patient: bool) -> int:
    query = select(func.count()).where(
        CaseMessage.submission_id == case_id,
        CaseMessage.from_patient == from_patient,
        CaseMessage.read_at.is_(None),
    )
    return session.scalar(query) or 0


def _answer_by(session: Session, case: Submission, now: datetime) -> datetime:
    return service_clock.after_working_time(
        session, clinic_id=case.clinic_id, start=now, duration=ANSWER_WITHIN
    )


def _reader(session: Session, case: Submission) -> Account | None:
    """Who is to answer, if it is anybody now; in the queue, whoever holds the case."""
    claimed = case.claim_until is not None and case.claim_until > database_now(session)
    theirs = case.case_state in _OUTSIDE_THE_QUEUE or claimed
    return dermatologists.at_work(session, case.claimed_by) if theirs else None


def _patient(session: Session, case: Submission) -> Account | None:
    patient = session.get_one(Patient, case.patient_id)
    return session.get(Account, patient.account_id) if patient.account_id else None


def of_case(session: Session, case_id: str) -> list[CaseMessage]:
    """The oldest first."""
    query = select(CaseMessage).where(CaseMessage.submission_id == case_id)
    return list(session.scalars(query.order_by(CaseMessage.sent_at, CaseMessage.id)))


def mark_read(session: Session, case_id: str, *, from_patient: bool) -> None:
    """The other side has opened what this side wrote."""
    session.execute(
        update(CaseMessage)
        .where(CaseMessage.submission_id == case_id, CaseMessage.read_at.is_(None))
        .where(CaseMessage.from_patient == from_patient)
        .values(read_at=database_now(session))
    )


def unread(session: Session, case_ids: Iterable[str], *, from_patient: bool) -> dict[str, int]:
    """How many unread messages of one side each case has; cases without any are left out."""
    query = (
        select(CaseMessage.submission_id, func.count().label("rows"))
        .where(CaseMessage.submission_id.in_(list(case_ids)), CaseMessage.read_at.is_(None))
        .where(CaseMessage.from_patient == from_patient)
        .group_by(CaseMessage.submission_id)
    )
    return {row.submission_id: row.rows for row in session.execute(query)}


@dataclass(frozen=True)
class Waiting:
    """A case with messages to answer. `reader`: who is to do so, None for nobody."""

    case: Submission
    count: int
    since: datetime
    answer_by: datetime | None
    reader: Account | None
    can_take: bool


def inbox(session: Session, *, clinic_id: str, reader_id: str) -> list[Waiting]:
    """What this reader is to answer, and what nobody answers; the oldest first."""
    query = (
        select(
            CaseMessage.submission_id,
            func.count(),
            func.min(CaseMessage.sent_at),
            func.min(CaseMessage.answer_by),
        )
        .where(CaseMessage.clinic_id == clinic_id, _to_answer())
        .group_by(CaseMessage.submission_id)
        .order_by(func.min(CaseMessage.sent_at))
        .limit(LONGEST_LIST)
    )
    now, found = database_now(session), []
    for case_id, count, since, answer_by in session.execute(query).all():
        case = session.get_one(Submission, case_id)
        reader = _reader(session, case)
        outside = case.case_state in _OUTSIDE_THE_QUEUE
        left_lying = outside and (reader is None or (answer_by or now) < now)
        mine = reader is not None and reader.id == reader_id
        if mine or reader is None or left_lying:
            can_take = left_lying and not mine
            found.append(Waiting(case, count, since, answer_by, reader, can_take))
    return found


def take_over(session: Session, case: Submission, *, reader_id: str) -> bool:
    """Answer in place of who does not. False: somebody is to answer and still has time."""
    return changed_one(
        session,
        update(Submission)
        .where(Submission.id == case.id, Submission.case_state.in_(_OUTSIDE_THE_QUEUE))
        .where(or_(dermatologists.nobody_at_work_has_it(), _left_lying(session, case.id)))
        .values(claimed_by=reader_id),
    )


def _left_lying(session: Session, case_id: str) -> ColumnElement[bool]:
    return (
        select(CaseMessage.id)
        .where(CaseMessage.submission_id == case_id, _to_answer())
        .where(CaseMessage.answer_by < database_now(session))
        .exists()
    )
