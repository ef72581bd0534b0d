"""What opinions lead to: a signature held, a third reader asked, a consensus recorded."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from clinic.double_read import (
    ConsensusPath,
    Opinion,
    ReadReason,
    Wanted,
    consensus_of_two,
    is_less_careful,
    needs_third,
)
from clinic.records import dermatologists, service_clock
from clinic.records.case_lock import lock_case
from clinic.records.db import database_now
from clinic.records.models import Account, Consensus, SecondRead, SignedReport, Submission
from clinic.records.second_reads import (
    NewRead,
    ask,
    open_of_case,
    opinion_of,
    recorded,
)
from clinic.submission import CaseState

RETURNED_FOR: Final = timedelta(hours=12)  # of working time: how long it is kept for its own reader


class Held(StrEnum):
    """Why a case cannot be signed as it was decided."""

    WAITING = "a second reader is at it"
    TO_A_SECOND = "goes to a second reader"
    TO_A_THIRD = "goes to a third reader"
    NO_THIRD = "nobody is there to decide between two"
    AGAINST_THE_THIRD = "less careful than the third reader"


def after_reading(session: Session, row: SecondRead) -> None:
    """What follows from a second read, in the transaction that recorded it.

    The case goes back to its own reader; once it is signed, the consensus is recorded instead, or a
    third reader asked.
    """
    case = session.get_one(Submission, row.submission_id, populate_existing=True)
    if case.case_state == CaseState.SIGNED:
        settle(session, case)
    elif row.holds:
        _return(session, case)


def _return(session: Session, case: Submission) -> None:
    """Keep the case for its own reader for a while; then it is anybody's."""
    until = service_clock.after_working_time(
        session, clinic_id=case.clinic_id, start=database_now(session), duration=RETURNED_FOR
    )
    mine = select(Account.id).where(Account.disabled_at.is_(None))
    session.execute(
        update(Submission)
        .where(Submission.id == case.id, Submission.claimed_by.in_(mine))
        .where(Submission.case_state == CaseState.AWAITING_REVIEW)
        .values(claim_until=until)
    )


def hold(
    session: Session, case: Submission, *, reader_id: str, decision: Opinion, wanted: Wanted | None
) -> Held | None:
    """Whether other readers come before the signature; who is missing is asked here.

    `wanted` is what the clinic's rule says of this decision. None: it can be signed now.
    """
    lock_case(session, case.id)
    open_read = open_of_case(session, case.id)
    if open_read is not None:
        return Held.WAITING if open_read.holds else None
    done = recorded(session, case.id)
    thirds = [one for one in done if one.reason == ReadReason.ADJUDICATION]
    if thirds:
        against = is_less_careful(decision, opinion_of(thirds[-1]))
        return Held.AGAINST_THE_THIRD if against else None
    if needs_third(decision, [opinion_of(one) for one in done]):
        return _send_to_third(session, case, reader_id, decision)
    if done or wanted is None or not wanted.holds or not _others(session, case, reader_id):
        return None
    _ask(session, case, wanted.reason, decision, holds=True)
    return Held.TO_A_SECOND


def _send_to_third(session: Session, case: Submission, reader_id: str, decision: Opinion) -> Held:
    if not _others(session, case, reader_id):
        return Held.NO_THIRD
    _ask(session, case, ReadReason.ADJUDICATION, decision, holds=True)
    return Held.TO_A_THIRD


def _others(session: Session, case: Submission, reader_id: str) -> list[str]:
    """The clinic's dermatologists who have not read this case."""
    done = {one.reader_id for one in recorded(session, case.id)} | {reader_id}
    return [one.id for one in dermatologists.of_clinic(session, case.clinic_id, but=done)]


def _ask(
    session: Session, case: Submission, reason: ReadReason, first: Opinion, *, holds: bool
) -> None:
    """Ask any colleague. A third reader decides between opinions, so they see them."""
    blind = reason is not ReadReason.ADJUDICATION
    new = NewRead(
        reason, blind=blind, holds=holds, first_diagnosis=first.diagnosis, first_plan=first.plan
    )
    ask(session, case, new)


def after_signing(session: Session, case: Submission, *, wanted: Wanted | None) -> None:
    """Record what the readers agree on, or ask for the audit that the clinic's rule wants.

    Where no colleague could read it, none is asked.
    """
    signed = _signed(session, case.id)
    if signed is None:
        return
    if recorded(session, case.id):
        settle(session, case)
        return
    asked = wanted is None or open_of_case(session, case.id) is not None
    if wanted is not None and not asked and _others(session, case, signed.signer_id):
        _ask(session, case, wanted.reason, _opinion(signed), holds=False)


def settle(session: Session, case: Submission) -> None:
    """Compare the second reads of a signed case with its record.

    The third reader's word counts. Two who agree are a consensus; two who do not need a third.
    """
    report, done = _signed(session, case.id), recorded(session, case.id)
    if report is None or not done:
        return
    signed = _opinion(report)
    last = done[-1]
    if last.reason == ReadReason.ADJUDICATION:
        _record_consensus(session, case, ConsensusPath.ADJUDICATED, opinion_of(last))
        return
    path = consensus_of_two(signed, opinion_of(last))
    if path is not None:
        _record_consensus(session, case, path, signed)
    elif open_of_case(session, case.id) is None:
        _ask(session, case, ReadReason.ADJUDICATION, signed, holds=False)


def _signed(session: Session, case_id: str) -> SignedReport | None:
    query = select(SignedReport).where(SignedReport.submission_id == case_id)
    return session.scalar(query.order_by(SignedReport.version.desc()).limit(1))


def _opinion(report: SignedReport) -> Opinion:
    return Opinion(report.diagnosis, report.plan)


def _record_consensus(
    session: Session, case: Submission, path: ConsensusPath, settled: Opinion
) -> None:
    session.add(
        Consensus(
            submission_id=case.id,
            clinic_id=case.clinic_id,
            path=path,
            diagnosis=settled.diagnosis,
            plan=settled.plan,
            recorded_at=database_now(session),
        )
    )
    session.flush()


def consensus_of(session: Session, case_id: str) -> Consensus | None:
    query = select(Consensus).where(Consensus.submission_id == case_id)
    return session.scalar(query.order_by(Consensus.recorded_at.desc()).limit(1))
