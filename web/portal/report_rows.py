"""Rows of a signed report as the plain values that FHIR and the report's page are made of."""

from collections.abc import Mapping, Sequence

from clinic.records.models import (
    Account,
    Clinic,
    Patient,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.report_values import (
    CaseValues,
    FindingValues,
    Identifier,
    OrganizationValues,
    PatientValues,
    PhotoValues,
    PractitionerValues,
    ReportStatus,
    ReportValues,
    ScreeningValues,
)
from clinic.terminology import PRACTITIONER_IDENTIFIER_SYSTEM
from clinic.urgency import urgency_at
from web.database import db
from web.portal.texts import Identity

_LATERALITY = {"left": "left", "right": "right", "middle": "midline"}
_SEXES = frozenset({"female", "male", "other"})


def report(
    row: SignedReport,
    *,
    patient: PatientValues,
    organization: OrganizationValues,
    photos: Sequence[SealedObject],
    result: ScreeningResult | None,
    finding: FindingValues,
) -> ReportValues:
    return ReportValues(
        patient=patient,
        practitioner=_practitioner(row.signer),
        organization=organization,
        case=_case(row.submission),
        photos=tuple(_photo(photo) for photo in photos),
        screening=_screening(result),
        finding=finding,
        signed_at=row.signed_at,
        status=ReportStatus(row.status),
        version=row.version,
    )


def organization(clinic_id: str) -> OrganizationValues:
    clinic = db.session.get_one(Clinic, clinic_id)
    return OrganizationValues(id=clinic.id, name=clinic.name)


def patient(row: Patient, identity: Identity, *, sex: str) -> PatientValues:
    """`sex` as a history or a finding says it; what is not said is unknown."""
    return PatientValues(
        id=row.id,
        identifiers=(Identifier(value=row.record_number),),
        family=identity.family_name,
        given=(identity.given_name,),
        birth_date=identity.birth_date,
        sex=sex if sex in _SEXES else "unknown",  # type: ignore[arg-type]
    )


def finding(row: SignedReport, said: Mapping[str, str], letter: str | None) -> FindingValues:
    """What was signed. `said` is the dermatologist's own text, where the reader may see it."""
    return FindingValues(
        diagnosis=row.diagnosis,
        diagnosis_text=said.get("diagnosis_text") or None,
        icd10=row.icd10cm,
        plan=row.plan,
        confidence=row.confidence,
        clinical_text=said.get("clinical_note", ""),
        patient_text=letter or "",
    )


def _practitioner(signer: Account) -> PractitionerValues:
    number = signer.registration_number or ""
    return PractitionerValues(
        id=signer.id,
        registration=Identifier(value=number, system=PRACTITIONER_IDENTIFIER_SYSTEM),
        family=signer.family_name or "",
        given=(signer.given_name or "",),
    )


def _case(row: Submission) -> CaseValues:
    return CaseValues(
        id=row.id,
        submitted_at=row.received_at,
        body_site=row.body_site,
        laterality=_LATERALITY.get(row.body_side),  # type: ignore[arg-type]
    )


def _photo(row: SealedObject) -> PhotoValues:
    return PhotoValues(
        id=row.id,
        view=row.view or "close_up",  # type: ignore[arg-type]
        content_type="image/jpeg",
        created_at=row.created_at,
    )


def _screening(result: ScreeningResult | None) -> ScreeningValues | None:
    if result is None or result.probabilities is None:
        return None
    probabilities = result.probabilities
    return ScreeningValues(
        probabilities=probabilities,
        top_class=max(probabilities, key=lambda label: probabilities[label]),
        urgency=urgency_at(result.urgency),
        reasons=tuple(result.reasons),
        model_version=result.model_version or "",
        model_fingerprint=result.model_fingerprint or "",
        analysed_at=result.finished_at,
    )
