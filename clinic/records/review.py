"""A case at the desk: its result, signatures, requests for new photos."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from clinic.records import first_reads, second_reads
from clinic.records.db import database_now
from clinic.records.models import ScreeningResult, SealedObject, SignedReport, Submission
from clinic.records.review_queue import changed_one
from clinic.submission import CaseEvent, CaseState, next_case_state, source_states


class NotOwnerError(Exception):
    """The reader does not hold this case any more: the claim ran out, or somebody else took it."""


def result_of(session: Session, submission_id: str) -> ScreeningResult | None:
    return session.get(ScreeningResult, submission_id)


def results_of(session: Session, submission_ids: Iterable[str]) -> dict[str, ScreeningResult]:
    """What the computer found, by submission; one without a result is left out."""
    ids = list(submission_ids)
    query = select(ScreeningResult).where(ScreeningResult.submission_id.in_(ids))
    return {row.submission_id: row for row in session.scalars(query)}


@dataclass(frozen=True)
class Decision:
    """What the dermatologist decided; the texts are sealed already.

    `letter_template` names the text that the letter began as, with its version.
    """

    diagnosis: str
    icd10cm: str
    confidence: str
    image_quality: str
    plan: str
    agreement: str
    override_reason: str | None
    finding: SealedObject
    letter: SealedObject
    gp_letter: SealedObject | None = None
    letter_template: str | None = None
    follow_up_on: date | None = None


def sign(session: Session, row: Submission, *, reader_id: str, decision: Decision) -> SignedReport:
    """Close the case with a signed finding, once.

    Raises:
        NotOwnerError: the case is not in review, this reader does not hold it now, or it waits
            for a second reader.

    """
    now = database_now(session)
    closed = changed_one(
        session,
        update(Submission)
        .where(Submission.id == row.id, Submission.claimed_by == reader_id)
        .where(Submission.claim_until > now)
        .where(Submission.case_state.in_(source_states(CaseEvent.SIGN)))
        .where(~second_reads.holds_case())
        .values(
            case_state=next_case_state(CaseState.AWAITING_REVIEW, CaseEvent.SIGN), escalate_at=now
        ),
    )
    if not closed:
        raise NotOwnerError
    report = report_of(row, signer_id=reader_id, decision=decision, at=now)
    session.add(report)
    session.flush()
    first_reads.decide(session, row.id, reader_id=reader_id)
    return report


def report_of(
    row: Submission, *, signer_id: str, decision: Decision, at: datetime, version: int = 1
) -> SignedReport:
    """A version of the case's signed finding; a later one still needs its status and reason."""
    return SignedReport(
        submission_id=row.id,
        patient_id=row.patient_id,
        clinic_id=row.clinic_id,
        version=version,
        signer_id=signer_id,
        diagnosis=decision.diagnosis,
        icd10cm=decision.icd10cm,
        confidence=decision.confidence,
        image_quality=decision.image_quality,
        plan=decision.plan,
        agreement=decision.agreement,
        override_reason=decision.override_reason,
        finding_object_id=decision.finding.id,
        letter_object_id=decision.letter.id,
        gp_letter_object_id=decision.gp_letter.id if decision.gp_letter else None,
        letter_template=decision.letter_template,
        follow_up_on=decision.follow_up_on,
        signed_at=at,
    )


def mark_told(session: Session, submission_id: str) -> bool:
    """The patient opened the signed result, or was sent the letter. False: it was known before."""
    now = database_now(session)
    return changed_one(
        session,
        update(Submission)
        .where(Submission.id == submission_id, Submission.told_at.is_(None))
        .where(Submission.case_state == CaseState.SIGNED)
        .values(told_at=now, escalate_at=now),
    )


def request_retake(session: Session, submission_id: str, *, reader_id: str, reason: str) -> bool:
    """Ask the patient for new photos. False: this reader does not hold the case now.

    The claim ends, but the case keeps in mind whose it was: the new photos come back to them.
    """
    now = database_now(session)
    event = CaseEvent.RETAKE_REQUESTED
    return changed_one(
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
