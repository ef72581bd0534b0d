"""The dermatologists' queue: its order, its lists and filters, and who holds which case.

A case is held by one reader under a claim that activity renews. A claim that ran out counts no
more, and the reconciler takes it away. Nothing here moves a due time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    Update,
    exists,
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

from clinic.escalation import Promise
from clinic.hand_over import NOT_FOR_ME, HandOverReason
from clinic.records import second_reads
from clinic.records.db import database_now
from clinic.records.hand_overs import note_hand_over
from clinic.records.models import (
    Account,
    Escalation,
    HandOver,
    ScreeningResult,
    SignedReport,
    Submission,
)
from clinic.submission import CaseState
from clinic.urgency import ORDER

CLAIM_LIFE = timedelta(minutes=30)
RENEWED_AFTER = timedelta(minutes=1)  # not every request writes
HANDED_OVER_LIFE = timedelta(hours=4)  # for the colleague to find the case and open it
PAGE_SIZE = 25
COUNT_LIMIT = 1000

# Written out, not sent as a parameter: only so does a database see that the partial indexes fit.
_IN_REVIEW = Submission.case_state == literal(CaseState.AWAITING_REVIEW, literal_execute=True)
_WAITING = Submission.case_state == literal(CaseState.UNREADABLE, literal_execute=True)
_ORDER = (Submission.urgency, Submission.due_at, Submission.id)
_WAITING_ORDER = (Submission.due_at, Submission.id)


@dataclass(frozen=True)
class Cursor:
    """Where a page of the queue ended: its last row's place in the order.

    The list of cases that wait for the patient has no urgency in its order.
    """

    urgency: int
    due_at: datetime
    submission_id: str


@dataclass(frozen=True)
class Filters:
    """Which cases are shown; all that is set is combined with AND.

    `waiting` is a list of its own: cases whose patient was asked for new photos.
    """

    mine: bool = False
    unclaimed: bool = False
    held: bool = False
    urgent: bool = False
    overdue: bool = False
    waiting: bool = False
    site: str | None = None


@dataclass(frozen=True)
class QueueRow:
    """`holder` is who claimed the case last, whether or not the claim still counts.

    `warned`: people were told that a promise of this case comes near its limit, or broke;
    `waits_for_second`: nothing is signed before a second read is there.
    """

    submission: Submission
    result: ScreeningResult | None
    holder: Account | None
    warned: bool
    waits_for_second: bool


def queue_page(
    session: Session, *, clinic_id: str, reader_id: str, filters: Filters, after: Cursor | None
) -> list[QueueRow]:
    """One page plus one row (which tells that there is more): urgency, then time left."""
    order = _WAITING_ORDER if filters.waiting else _ORDER
    found = _filtered(clinic_id, filters, reader_id, database_now(session))
    if after is not None:
        place = (after.due_at, after.submission_id)
        found = found.where(
            tuple_(*order) > (place if filters.waiting else (after.urgency, *place))
        )
    if filters.overdue:
        found = _by_urgency(found, limit=PAGE_SIZE + 1)
    warned = exists().where(
        Escalation.submission_id == Submission.id,
        Escalation.promise.in_([Promise.READ, Promise.CANCER]),
    )
    query = (
        select(Submission, ScreeningResult, Account, warned, second_reads.holds_case())
        .outerjoin(ScreeningResult, ScreeningResult.submission_id == Submission.id)
        .outerjoin(Account, Account.id == Submission.claimed_by)
        .where(Submission.id.in_(found.order_by(*order).limit(PAGE_SIZE + 1)))
        .order_by(*order)
    )
    return [QueueRow(*row) for row in session.execute(query)]


def _filtered(clinic_id: str, filters: Filters, reader_id: str, now: datetime) -> Select[str]:
    state = _WAITING if filters.waiting else _IN_REVIEW
    query = select(Submission.id).where(Submission.clinic_id == clinic_id, state)
    wanted = (
        (filters.mine, _in_progress(now) & (Submission.claimed_by == reader_id)),
        (filters.unclaimed, _free(now)),
        (filters.held, _in_progress(now)),
        (filters.urgent, Submission.urgency == 0),
        (filters.overdue, Submission.due_at < now),
        (filters.site is not None, Submission.body_site == filters.site),
    )
    return query.where(*(condition for is_set, condition in wanted if is_set))


def _free(now: datetime) -> ColumnElement[bool]:
    """Nobody holds it, and it does not wait for a second reader to come back to its own."""
    unclaimed = or_(Submission.claim_until.is_(None), Submission.claim_until <= now)
    return unclaimed & ~second_reads.holds_case()


def _in_progress(now: datetime) -> ColumnElement[bool]:
    """All that is not free: somebody holds it, or it waits for a second reader."""
    claimed = Submission.claimed_by.is_not(None) & (Submission.claim_until > now)
    return or_(claimed, second_reads.holds_case())


def _by_urgency(found: Select[str], *, limit: int) -> Select[str]:
    """The first of each urgency: within one, the index of the order is an index of due times."""
    parts = [
        found.where(Submission.urgency == place).order_by(*_ORDER).limit(limit).subquery()
        for place in range(len(ORDER))
    ]
    return select(Submission.id).where(
        Submission.id.in_(union_all(*(select(part.c.id) for part in parts)))
    )


def counts(
    session: Session, shown: dict[str, Filters], *, clinic_id: str, reader_id: str
) -> dict[str, int]:
    """How many cases each of these would show; COUNT_LIMIT + 1 stands for any more."""
    now = database_now(session)
    query = select(
        *(
            _bounded_count(_filtered(clinic_id, filters, reader_id, now), filters)
            for filters in shown.values()
        )
    )
    return dict(zip(shown, session.execute(query).one(), strict=True))


def _bounded_count(found: Select[str], filters: Filters) -> ScalarSelect[int]:
    limit = COUNT_LIMIT + 1
    if filters.overdue:
        found = _by_urgency(found, limit=limit)
    return select(func.count()).select_from(found.limit(limit).subquery()).scalar_subquery()


@dataclass(frozen=True)
class Untold:
    """A signed case whose patient did not open the result in time; `due_at`: until when."""

    submission_id: str
    signer_id: str
    signer: str
    due_at: datetime


def untold(session: Session, *, clinic_id: str) -> list[Untold]:
    """The newest of them, at most a page, until the patient opens the result or a letter leaves."""
    signer = (Account.id, Account.given_name, Account.family_name)
    signed_again = exists().where(
        SignedReport.submission_id == Submission.id, SignedReport.signed_at > Escalation.at
    )
    query = (
        select(Escalation.submission_id, *signer, func.min(Escalation.due_at))
        .join(Submission, Submission.id == Escalation.submission_id)
        .join(Account, Account.id == Submission.claimed_by)
        .where(Escalation.clinic_id == clinic_id, Escalation.promise == Promise.TOLD)
        .where(Submission.told_at.is_(None), ~signed_again)
        .group_by(Escalation.submission_id, *signer)
        .order_by(func.min(Escalation.due_at).desc())
        .limit(PAGE_SIZE)
    )
    return [
        Untold(case, account_id, f"{given} {family}", due)
        for case, account_id, given, family, due in session.execute(query)
    ]


def claim_next(session: Session, *, clinic_id: str, reader_id: str) -> Submission | None:
    """Take the case that is due first and nobody holds; two readers never get the same one.

    What this reader passed on because somebody else is to read it is not served to them again.
    """
    now = database_now(session)
    passed_on = exists().where(
        HandOver.submission_id == Submission.id,
        HandOver.from_id == reader_id,
        HandOver.reason.in_(NOT_FOR_ME),
    )
    found = session.scalar(
        select(Submission)
        .where(Submission.clinic_id == clinic_id)
        .where(_IN_REVIEW)
        .where(_free(now))
        .where(~passed_on)
        .order_by(*_ORDER)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True, of=Submission)
    )
    if found is None:
        return None
    return found if claim(session, found.id, reader_id=reader_id) else None


def claim(session: Session, submission_id: str, *, reader_id: str) -> bool:
    """Take or keep a case. False: it is not in review, or another reader holds it."""
    now = database_now(session)
    return changed_one(
        session,
        update(Submission)
        .where(Submission.id == submission_id)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .where(or_(_free(now), Submission.claimed_by == reader_id))
        .values(claimed_by=reader_id, claim_until=now + CLAIM_LIFE),
    )


def renew(session: Session, submission_id: str, *, reader_id: str) -> None:
    """The holder is at work: the claim lasts CLAIM_LIFE from now, or longer if it did already."""
    now = database_now(session)
    until = now + CLAIM_LIFE
    session.execute(
        update(Submission)
        .where(Submission.id == submission_id, Submission.claimed_by == reader_id)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .where(Submission.claim_until > now, Submission.claim_until < until - RENEWED_AFTER)
        .values(claim_until=until),
        execution_options={"synchronize_session": "fetch"},
    )


def hand_over(
    session: Session,
    row: Submission,
    *,
    reader_id: str,
    to_id: str | None,
    reason: HandOverReason,
) -> bool:
    """Pass a case to a colleague, or with `to_id` None to the pool; its clock runs on.

    False: this reader does not hold the case now. A colleague who does not open the case in
    HANDED_OVER_LIFE loses it to the pool.
    """
    now = database_now(session)
    passed = changed_one(
        session,
        update(Submission)
        .where(Submission.id == row.id, Submission.claimed_by == reader_id)
        .where(Submission.claim_until > now)
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .values(claimed_by=to_id, claim_until=now + HANDED_OVER_LIFE if to_id else None),
    )
    if passed:
        note_hand_over(session, row, from_id=reader_id, to_id=to_id, reason=reason, at=now)
    return passed


def expire_claims(session: Session) -> list[Submission]:
    """Take away the claims that ran out, so that their cases are everybody's again.

    A case that waits for a second reader stays with its own one: nobody else could take it.
    """
    now = database_now(session)
    lapsed = list(
        session.scalars(
            select(Submission)
            .where(_IN_REVIEW, Submission.claimed_by.is_not(None))
            .where(or_(Submission.claim_until.is_(None), Submission.claim_until <= now))
            .where(~second_reads.holds_case())
            .with_for_update(skip_locked=True, key_share=True)
            .execution_options(populate_existing=True)
        )
    )
    for row in lapsed:
        row.claimed_by, row.claim_until = None, None
    session.flush()
    return lapsed


def changed_one(session: Session, statement: Update) -> bool:
    """Whether a conditional UPDATE found its row."""
    result = session.execute(statement, execution_options={"synchronize_session": "fetch"})
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    return result.rowcount == 1
