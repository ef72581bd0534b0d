"""Histology results of signed cases: added, never changed; what the model is held to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from clinic.pathology import PathologySource, ProvenCase, Specimen
from clinic.records.db import database_now
from clinic.records.models import (
    FirstRead,
    PathologyResult,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.records.report_versions import is_newest

AWAITED_PLANS = ("biopsy",)


@dataclass(frozen=True)
class NewResult:
    """What the laboratory found; `morphology` is an ICD-O code, the note is sealed already."""

    diagnosis: str
    icd10cm: str
    morphology: str | None
    specimen: Specimen
    source: PathologySource
    reported_on: date
    note: SealedObject | None


@dataclass(frozen=True)
class Awaited:
    """A signed case whose tissue was to be taken, and of which no result is known."""

    submission: Submission
    signed_at: datetime


def add(session: Session, row: Submission, new: NewResult, *, added_by: str) -> PathologyResult:
    """Add a result; where there is one already, the new one counts from now on."""
    result = PathologyResult(
        submission_id=row.id,
        clinic_id=row.clinic_id,
        diagnosis=new.diagnosis,
        icd10cm=new.icd10cm,
        morphology=new.morphology,
        specimen=new.specimen,
        source=new.source,
        reported_on=new.reported_on,
        note_object_id=new.note.id if new.note else None,
        added_by=added_by,
        added_at=database_now(session),
    )
    session.add(result)
    session.flush()
    return result


def of_case(session: Session, submission_id: str) -> Sequence[PathologyResult]:
    """A case's results, oldest first: the last one counts."""
    query = select(PathologyResult).where(PathologyResult.submission_id == submission_id)
    return session.scalars(query.order_by(PathologyResult.added_at, PathologyResult.id)).all()


def newest(session: Session, submission_ids: Iterable[str]) -> dict[str, PathologyResult]:
    """The result that counts, by case."""
    query = select(PathologyResult).where(PathologyResult.submission_id.in_(list(submission_ids)))
    in_order = session.scalars(query.order_by(PathologyResult.added_at, PathologyResult.id))
    return {one.submission_id: one for one in in_order}


def awaited(session: Session, *, clinic_id: str, limit: int) -> list[Awaited]:
    """Cases for biopsy without a result, the longest signed first."""
    known = exists().where(PathologyResult.submission_id == SignedReport.submission_id)
    query = (
        select(SignedReport, Submission)
        .join(Submission, Submission.id == SignedReport.submission_id)
        .where(SignedReport.clinic_id == clinic_id, is_newest())
        .where(SignedReport.plan.in_(AWAITED_PLANS), ~known)
        .order_by(SignedReport.signed_at, SignedReport.id)
        .limit(limit)
    )
    return [Awaited(case, report.signed_at) for report, case in session.execute(query)]


def proven_cases(session: Session, *, clinic_id: str) -> list[ProvenCase]:
    """Each case with a result: what was signed first, read blind and computed of it."""
    query = (
        select(PathologyResult, SignedReport.diagnosis, FirstRead.impression, ScreeningResult)
        .join(SignedReport, SignedReport.submission_id == PathologyResult.submission_id)
        .outerjoin(FirstRead, FirstRead.submission_id == PathologyResult.submission_id)
        .outerjoin(ScreeningResult, ScreeningResult.submission_id == PathologyResult.submission_id)
        .where(PathologyResult.clinic_id == clinic_id, SignedReport.version == 1)
        .order_by(PathologyResult.added_at, PathologyResult.id)
    )
    found = {row[0].submission_id: _proven(*row) for row in session.execute(query)}
    return list(found.values())


def _proven(
    result: PathologyResult, signed: str, first_read: str | None, screening: ScreeningResult | None
) -> ProvenCase:
    probabilities = screening.probabilities if screening else None
    return ProvenCase(
        pathology=result.diagnosis,
        signed=signed,
        first_read=first_read,
        computer=max(probabilities, key=lambda one: probabilities[one]) if probabilities else None,
        model_version=screening.model_version if screening else None,
    )
