"""Later versions of a signed report: each is a row of its own, and no earlier one is touched."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from clinic.keeper_protocol import ObjectKind
from clinic.records.db import database_now
from clinic.records.models import SealedObject, SignedReport, Submission
from clinic.records.review import Decision, report_of
from clinic.report_values import ReportStatus

_TEXTS = (ObjectKind.FINDING, ObjectKind.LETTER, ObjectKind.GP_LETTER)


class OutdatedVersionError(Exception):
    """Somebody has signed another version since the reader began."""


@dataclass(frozen=True)
class Change:
    """How a version differs from the one before it (FHIR's word), and why, as a code."""

    status: ReportStatus
    reason: str


def is_newest() -> ColumnElement[bool]:
    """Of the rows of SignedReport those that count: no later version follows."""
    later = aliased(SignedReport)
    return ~exists().where(
        later.submission_id == SignedReport.submission_id, later.version > SignedReport.version
    )


def versions(session: Session, submission_id: str) -> Sequence[SignedReport]:
    """Every version of a case's report, oldest first."""
    query = select(SignedReport).where(SignedReport.submission_id == submission_id)
    return session.scalars(query.order_by(SignedReport.version)).all()


def lock_version(session: Session, row: Submission, *, after: int) -> None:
    """Hold the case for a new version behind `after`, before anything is written for it.

    Raises:
        OutdatedVersionError: `after` is not the newest version.

    """
    case = select(Submission.id).where(Submission.id == row.id)
    session.execute(case.with_for_update(key_share=True))
    newest = session.scalar(
        select(SignedReport.version)
        .where(SignedReport.submission_id == row.id)
        .order_by(SignedReport.version.desc())
        .limit(1)
    )
    if newest != after:
        raise OutdatedVersionError


def retire_texts(session: Session, submission_id: str) -> None:
    """The texts of earlier versions are kept, but no page takes them for the present ones."""
    session.execute(
        update(SealedObject)
        .where(SealedObject.submission_id == submission_id, SealedObject.kind.in_(_TEXTS))
        .values(current=False)
    )


def add_version(
    session: Session,
    row: Submission,
    *,
    signer_id: str,
    decision: Decision,
    change: Change,
    after: int,
) -> SignedReport:
    """Sign version `after` + 1, of which the patient is to be told anew.

    The caller holds the case by `lock_version`.
    """
    now = database_now(session)
    report = report_of(
        row,
        signer_id=signer_id,
        decision=decision,
        at=now,
        version=after + 1,
    )
    report.status, report.change_reason = change.status, change.reason
    session.add(report)
    session.flush()
    session.execute(
        update(Submission)
        .where(Submission.id == row.id)
        .values(
            first_told_at=func.coalesce(Submission.first_told_at, Submission.told_at),
            told_at=None,
            escalate_at=now,
        ),
        execution_options={"synchronize_session": "fetch"},
    )
    return report
