"""Signed cases and their keepers: who answers for a report until it is passed on or taken over.

Whoever signs keeps the report: they change it, answer the patient and post the letter. A keeper
passes it on to a colleague; what somebody kept who has left, any dermatologist takes over.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import literal, select, tuple_, update
from sqlalchemy.orm import Session

from clinic.hand_over import HandOverReason
from clinic.records import dermatologists
from clinic.records.db import database_now
from clinic.records.hand_overs import note_hand_over
from clinic.records.models import Account, SignedReport, Submission
from clinic.records.report_versions import is_newest
from clinic.records.review_queue import changed_one
from clinic.submission import CaseState

PAGE_SIZE = 25
# Written out, not sent as a parameter: only so does a database see that the partial indexes fit.
_SIGNED = Submission.case_state == literal(CaseState.SIGNED, literal_execute=True)
_ORDER = (Submission.received_at, Submission.id)


class Keeper(StrEnum):
    """Whose signed cases are listed."""

    MINE = "mine"
    NOBODY = "nobody"
    ANYBODY = "anybody"


@dataclass(frozen=True)
class Cursor:
    """Where a page ended: its last row's place in the order."""

    received_at: datetime
    submission_id: str


@dataclass(frozen=True)
class SignedCase:
    """`report` is the newest version; `keeper` is None where nobody at work has the case."""

    submission: Submission
    report: SignedReport
    keeper: Account | None


def signed_page(
    session: Session,
    *,
    clinic_id: str,
    reader_id: str,
    keeper: Keeper,
    id_prefix: str = "",
    after: Cursor | None = None,
) -> list[SignedCase]:
    """One page plus one row (which tells that there is more), the newest case first.

    `id_prefix`: only cases whose id begins so, which is what a case's reference says.
    """
    query = (
        select(Submission, SignedReport, Account)
        .join(SignedReport, SignedReport.submission_id == Submission.id)
        .outerjoin(Account, (Account.id == Submission.claimed_by) & dermatologists.is_at_work())
        .where(Submission.clinic_id == clinic_id, _SIGNED, is_newest())
    )
    if keeper is Keeper.MINE:
        query = query.where(Submission.claimed_by == reader_id)
    if keeper is Keeper.NOBODY:
        query = query.where(dermatologists.nobody_at_work_has_it())
    if id_prefix:
        query = query.where(Submission.id >= id_prefix, Submission.id < id_prefix + "g")
    if after is not None:
        query = query.where(tuple_(*_ORDER) < (after.received_at, after.submission_id))
    newest_first = (column.desc() for column in _ORDER)
    found = session.execute(query.order_by(*newest_first).limit(PAGE_SIZE + 1)).all()
    return [SignedCase(*one) for one in found]


def keeper_of(session: Session, case: Submission) -> Account | None:
    """Who answers for a signed case now; None where nobody at work has it."""
    return dermatologists.at_work(session, case.claimed_by)


def take_over(session: Session, submission_id: str, *, reader_id: str) -> bool:
    """Keep a signed case that nobody at work has. False: somebody has it, or it is not signed."""
    return changed_one(
        session,
        update(Submission)
        .where(Submission.id == submission_id, _SIGNED, dermatologists.nobody_at_work_has_it())
        .values(claimed_by=reader_id),
    )


def hand_over(
    session: Session, case: Submission, *, reader_id: str, to_id: str, reason: HandOverReason
) -> bool:
    """Pass a signed case on to a colleague. False: this reader does not keep it now."""
    passed = changed_one(
        session,
        update(Submission)
        .where(Submission.id == case.id, _SIGNED, Submission.claimed_by == reader_id)
        .values(claimed_by=to_id),
    )
    if passed:
        now = database_now(session)
        note_hand_over(session, case, from_id=reader_id, to_id=to_id, reason=reason, at=now)
    return passed
