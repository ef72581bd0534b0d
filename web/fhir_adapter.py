"""The FHIR API over the database: rows and texts opened for one client become report values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, Response
from flask.blueprints import Blueprint
from flask_limiter.util import get_remote_address
from sqlalchemy.exc import OperationalError

from clinic.audit_event import AuditAction
from clinic.ehr_client import EhrClient, FhirAccess
from clinic.fhir_history import Withdrawal
from clinic.fhir_mapping import ReportKey
from clinic.fhir_search import PageKey, ReportPage, ReportQuery
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.records import clinic_scope, ehr_clients, reports, review, sealed_objects, submissions
from clinic.records.keeper_client import KeeperRefusedError, KeeperUnavailableError
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import Patient, SignedReport
from clinic.report_values import PatientValues, ReportValues
from web.database import db
from web.errors import RETRY_SECONDS
from web.fhir_answers import outcome
from web.fhir_api import create_fhir_blueprint, current_client
from web.portal import report_rows
from web.portal.texts import CaseTexts, open_all_texts, read_texts
from web.refusals import first_in_minute
from web.services import EXTENSION, Services, services

COUNT_LIMIT = 1000  # a search that matches more says no total, unless it asks for the exact one


def fhir_blueprint(app: Flask) -> Blueprint:
    parts: Services = app.extensions[EXTENSION]
    blueprint = create_fhir_blueprint(
        reports=DatabaseReports(),
        authenticate=_authenticate,
        base_url=f"{parts.public_url}/fhir/R4",
        audit=_audit,
        snomed=parts.snomed,
    )
    for kind in (KeeperUnavailableError, OperationalError):
        blueprint.register_error_handler(kind, _unavailable)
    blueprint.register_error_handler(KeeperRefusedError, _refused)
    return blueprint


def _unavailable(_: Exception) -> Response:
    db.session.rollback()
    response = outcome(503, "A part of the service is not available. Nothing was sent.")
    response.headers["Retry-After"] = RETRY_SECONDS[503]
    return response


def _refused(_: Exception) -> Response:
    return outcome(403, "The key service refused the texts of this report.")


def _authenticate(token: str) -> EhrClient | None:
    with clinic_scope.every_clinic(db.session()):
        client = ehr_clients.by_token(db.session(), token)
    if client is not None:
        clinic_scope.keep_to(db.session(), client.clinic_id)
    return client


def _audit(access: FhirAccess) -> None:
    """One entry for each case that was sent, or one for the whole request.

    Whoever has no token leaves one a minute: sending faster does not make the chain longer.
    """
    client = access.client
    if client is None and not first_in_minute("fhir", get_remote_address()):
        return
    if client is None:  # an unknown token is of no clinic, and so is its entry
        clinic_scope.open_to_every_clinic(db.session())
    common: dict[str, str | bool | None] = {
        "clinic_id": client.clinic_id if client else None,
        "allowed": access.status < 400,
        "detail": f"{access.interaction} {access.resource_type} {access.status}",
    }
    services().auditor.record_all(
        db.session(),
        AuditAction.EHR_READ,
        f"ehr:{client.id}" if client else "ehr:unknown",
        [common | case for case in _named(access.case_ids)] or [common],
    )
    db.session.commit()


def _named(case_ids: Sequence[str]) -> list[dict[str, str | bool | None]]:
    patients = submissions.patients_of(db.session(), case_ids) if case_ids else {}
    return [{"patient_id": patients[one], "submission_id": one} for one in case_ids]


@dataclass(frozen=True)
class DatabaseReports:
    """Where the API's reports come from."""

    def read(self, *, clinic_id: str, key: ReportKey) -> ReportValues | None:
        report = reports.by_key(db.session(), clinic_id=clinic_id, key=key)
        return report_values([report])[0] if report else None

    def is_withdrawn(self, *, clinic_id: str, key: ReportKey) -> bool:
        return reports.is_withdrawn(db.session(), clinic_id=clinic_id, key=key)

    def withdrawals(
        self, *, clinic_id: str, since: datetime | None, count: int, after: PageKey | None
    ) -> Sequence[Withdrawal]:
        return reports.withdrawals(
            db.session(), clinic_id=clinic_id, since=since, after=after, limit=count
        )

    def search(
        self,
        *,
        clinic_id: str,
        query: ReportQuery,
        count: int,
        after: PageKey | None,
        exact: bool,
    ) -> ReportPage:
        limit = None if exact else COUNT_LIMIT + 1
        total = reports.count(db.session(), clinic_id=clinic_id, query=query, limit=limit)
        rows = reports.search(
            db.session(), clinic_id=clinic_id, query=query, after=after, limit=count + 1
        )
        many = not exact and total > COUNT_LIMIT
        return ReportPage(
            reports=tuple(report_values(rows[:count])),
            total=None if many else total,
            more=len(rows) > count,
        )


def report_values(found: Sequence[SignedReport]) -> list[ReportValues]:
    """Everything that the reports say, their texts opened by the keeper for this client."""
    if not found:
        return []
    cases = [report.submission_id for report in found]
    photos = sealed_objects.of_submissions(db.session(), cases, [ObjectKind.PHOTO])
    results = review.results_of(db.session(), cases)
    clinics = {one: report_rows.organization(one) for one in {report.clinic_id for report in found}}
    texts = _texts(found)
    return [
        report_rows.report(
            report,
            patient=_patient(report.submission.patient, opened),
            organization=clinics[report.clinic_id],
            photos=photos[report.submission_id],
            result=results.get(report.submission_id),
            finding=report_rows.finding(report, opened.finding or {}, opened.letter),
        )
        for report, opened in zip(found, texts, strict=True)
    ]


def _texts(found: Sequence[SignedReport]) -> list[CaseTexts]:
    kinds = [ObjectKind.FINDING, ObjectKind.LETTER]
    texts = sealed_objects.of_submissions(
        db.session(), [report.submission_id for report in found], kinds
    )
    identities = sealed_objects.identities_of(db.session(), {report.patient_id for report in found})
    asked = []
    for report in found:
        identity = identities.get(report.patient_id)
        rows = [*texts[report.submission_id], *([identity] if identity else [])]
        wanted = NewKeyRequest(
            purpose=KeyPurpose.EHR,
            object_ids=tuple(one.id for one in rows),
            recipient_key=b"",
            ehr_client_id=current_client().id,
            submission_id=report.submission_id,
        )
        asked.append((rows, wanted))
    return [read_texts(opened) for opened in open_all_texts(asked)]


def _patient(patient: Patient, texts: CaseTexts) -> PatientValues:
    if texts.identity is None:
        raise LookupError("A signed report's patient has no identity.")
    sex = (texts.finding or {}).get("sex", "unknown")
    return report_rows.patient(patient, texts.identity, sex=sex)
