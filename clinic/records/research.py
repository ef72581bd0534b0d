"""Signed cases that research may use: consent is looked up at each query and copied nowhere."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.consent import Purpose
from clinic.keeper_protocol import ObjectKind
from clinic.records import consents, sealed_objects
from clinic.records.models import SealedObject, SignedReport
from ml.labels import CLASS_INDEX

# A photo from further away shows more of a person than the spot, and the ensemble needs the spot.
EXPORTED_VIEWS = frozenset({"dermoscopic", "close_up"})


def permitted_reports(session: Session, *, clinic_id: str) -> list[SignedReport]:
    """The final report of each case of a class that the ensemble knows, where research may be."""
    query = select(SignedReport).where(SignedReport.clinic_id == clinic_id)
    in_order = session.scalars(query.order_by(SignedReport.signed_at, SignedReport.version))
    final = {report.submission_id: report for report in in_order}
    return [
        report
        for report in final.values()
        if report.diagnosis in CLASS_INDEX
        and consents.permits(session, report.patient_id, Purpose.RESEARCH)
    ]


def exported_objects(session: Session, submission_id: str) -> list[SealedObject]:
    """The clean pictures of the spot, and the history."""
    kinds = [ObjectKind.RENDITION, ObjectKind.HISTORY]
    return [
        row
        for row in sealed_objects.of_submission(session, submission_id, kinds)
        if row.kind == ObjectKind.HISTORY or row.view in EXPORTED_VIEWS
    ]
