"""Signed cases that research may use: consent is looked up at each query and copied nowhere."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.consent import Purpose
from clinic.keeper_protocol import ObjectKind
from clinic.records import consents, pathology, sealed_objects
from clinic.records.models import PathologyResult, SealedObject, SignedReport
from clinic.records.report_versions import is_newest
from clinic.training_case import Truth
from ml.labels import CLASS_INDEX

# A photo from further away shows more of a person than the spot, and the ensemble needs the spot.
EXPORTED_VIEWS = frozenset({"dermoscopic", "close_up"})


@dataclass(frozen=True)
class PermittedCase:
    """The report that counts, and what the case is: pathology goes before the reader."""

    report: SignedReport
    truth: Truth


def permitted_cases(session: Session, *, clinic_id: str) -> list[PermittedCase]:
    """Each case of a class that the ensemble knows, where research may be."""
    query = select(SignedReport).where(SignedReport.clinic_id == clinic_id, is_newest())
    reports = session.scalars(query.order_by(SignedReport.signed_at, SignedReport.id)).all()
    results = pathology.newest(session, [report.submission_id for report in reports])
    cases = [
        PermittedCase(report, _truth(report, results.get(report.submission_id)))
        for report in reports
    ]
    return [
        one
        for one in cases
        if one.truth.diagnosis in CLASS_INDEX
        and consents.permits(session, one.report.patient_id, Purpose.RESEARCH)
    ]


def _truth(report: SignedReport, result: PathologyResult | None) -> Truth:
    if result is None:
        return Truth(report.diagnosis)
    return Truth(result.diagnosis, proven=True)


def exported_objects(session: Session, submission_id: str) -> list[SealedObject]:
    """The clean pictures of the spot, and the history."""
    kinds = [ObjectKind.RENDITION, ObjectKind.HISTORY]
    return [
        row
        for row in sealed_objects.of_submission(session, submission_id, kinds)
        if row.kind == ObjectKind.HISTORY or row.view in EXPORTED_VIEWS
    ]
