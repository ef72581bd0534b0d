"""One report of an invented patient, for the tests of everything that sends reports."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

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

FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PATIENT = PatientValues(
    id="patient-1",
    identifiers=(Identifier(value="P-1001"),),
    family="Meier",
    given=("Anna", "Maria"),
    birth_date=date(1961, 4, 30),
    sex="female",
)
PRACTITIONER = PractitionerValues(
    id="doctor-1",
    registration=Identifier(system=PRACTITIONER_IDENTIFIER_SYSTEM, value="R-77"),
    family="Okafor",
    given=("Chidi",),
)
CLINIC = OrganizationValues(id="clinic-1", name="Skin Clinic North & Lake")
SUBMITTED = datetime(2026, 11, 20, 9, 15, tzinfo=timezone(timedelta(hours=1)))
PHOTOS = (
    PhotoValues(
        id="photo-1",
        view="overview",
        content_type="image/jpeg",
        size=120_000,
        sha1=bytes(range(20)),
        created_at=SUBMITTED,
    ),
    PhotoValues(id="photo-2", view="dermoscopic", content_type="image/jpeg", created_at=SUBMITTED),
)
SCREENING = ScreeningValues(
    probabilities={
        "akiec": 0.010000001,
        "bcc": 0.02,
        "bkl": 0.1 + 0.2 - 0.2,
        "df": 0.0,
        "mel": 0.61234567,
        "nv": 0.25,
        "vasc": 0.00765433,
    },
    top_class="mel",
    urgency="urgent",
    reasons=("The probability of melanoma is above the limit.", "The members disagree."),
    model_version="2026.11.1",
    model_fingerprint=FINGERPRINT,
    analysed_at=datetime(2026, 11, 20, 8, 16, 2, tzinfo=UTC),
)
FINDING = FindingValues(
    diagnosis="nv",
    icd10="D22.5",
    confidence="probable",
    plan="in_person",
    clinical_text="Symmetric network, two colours.\nNo regression.",
    patient_text="This looks like a harmless mole. Please show it to us once.",
)


def make_report(**changes):
    report = ReportValues(
        patient=PATIENT,
        practitioner=PRACTITIONER,
        organization=CLINIC,
        case=CaseValues(
            id="case-1",
            submitted_at=SUBMITTED,
            body_site="back",
            body_site_text="between the shoulders",
            laterality="left",
        ),
        photos=PHOTOS,
        screening=SCREENING,
        finding=FINDING,
        signed_at=datetime(2026, 11, 21, 14, 0, 5, tzinfo=UTC),
        status=ReportStatus.FINAL,
        version=1,
    )
    return replace(report, **changes)
