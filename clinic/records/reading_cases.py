"""Signed cases as statistics of readers need them: codes and times, no text and no photo."""

from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.reading_summary import ReadCase
from clinic.records import pathology
from clinic.records.db import database_now
from clinic.records.models import (
    FirstRead,
    PathologyResult,
    Reading,
    ScreeningResult,
    SignedReport,
    Submission,
)

# The newest of a period: so many give narrow intervals, and the page stays quick.
MOST_CASES: Final = 5000


def read_cases(
    session: Session,
    *,
    clinic_id: str,
    signed_within: timedelta,
    reader_id: str | None = None,
) -> list[ReadCase]:
    """The clinic's newest signed cases, or those of one reader, at most MOST_CASES.

    A case counts with the first version of its report, which is what the reader decided at the
    desk; with it stands what the laboratory found, where that is known.
    """
    query = (
        select(SignedReport, Submission, FirstRead, ScreeningResult, Reading)
        .join(Submission, Submission.id == SignedReport.submission_id)
        .join(FirstRead, FirstRead.submission_id == SignedReport.submission_id)
        .outerjoin(ScreeningResult, ScreeningResult.submission_id == SignedReport.submission_id)
        .outerjoin(
            Reading,
            (Reading.submission_id == SignedReport.submission_id)
            & (Reading.reader_id == SignedReport.signer_id),
        )
        .where(SignedReport.clinic_id == clinic_id, SignedReport.version == 1)
        .where(SignedReport.signed_at > database_now(session) - signed_within)
        .where(FirstRead.reader_id == SignedReport.signer_id)
        .order_by(SignedReport.signed_at.desc())
        .limit(MOST_CASES)
    )
    if reader_id is not None:
        query = query.where(SignedReport.signer_id == reader_id)
    rows = session.execute(query).all()
    known = pathology.newest(session, [row.Submission.id for row in rows])
    return [_read_case(*row, known.get(row.Submission.id)) for row in rows]


def _read_case(
    report: SignedReport,
    case: Submission,
    first: FirstRead,
    result: ScreeningResult | None,
    reading: Reading | None,
    found: PathologyResult | None,
) -> ReadCase:
    probabilities = (result.probabilities if result else None) or {}
    return ReadCase(
        reader_id=report.signer_id,
        model_version=result.model_version if result else None,
        first=first.impression,
        final=report.diagnosis,
        computer=max(probabilities, key=lambda name: probabilities[name], default=None),
        overrode=report.agreement == "override",
        urgency=first.urgency,
        sorted_as=case.urgency or 0,
        received_at=case.received_at,
        due_at=case.due_at,
        signed_at=report.signed_at,
        started_at=reading.started_at if reading else None,
        pathology=found.diagnosis if found else None,
    )
