"""A patient's whole record as one FHIR R4 Bundle of type collection (GDPR 15 and 20).

Signed cases come as `fhir_mapping` makes them. What a patient told about each spot is a
QuestionnaireResponse, and each decision on a purpose a Consent.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clinic.consent import Purpose
from clinic.fhir_elements import (
    Resource,
    checked,
    concept,
    generated_text,
    identifier_element,
    instant,
    reference,
)
from clinic.fhir_mapping import Export, organization_resource, patient_resource, to_resources
from clinic.intake import History
from clinic.report_values import Identifier, OrganizationValues, PatientValues, ReportValues
from clinic.terminology import CANONICAL, CASE_IDENTIFIER_SYSTEM, LOINC, Coding

_SCOPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/consentscope"
_TREATMENT = Coding(_SCOPE_SYSTEM, "treatment", "Treatment")
_RESEARCH = Coding(_SCOPE_SYSTEM, "research", "Research")
_PRIVACY = Coding(_SCOPE_SYSTEM, "patient-privacy", "Privacy Consent")
_SCOPES = {
    Purpose.CARE: _TREATMENT,
    Purpose.TELEDERMATOLOGY: _TREATMENT,
    Purpose.AI_ASSISTANCE: _TREATMENT,
    Purpose.RESEARCH: _RESEARCH,
    Purpose.TEACHING: _PRIVACY,
}
_CONSENT_DOCUMENT = Coding(LOINC, "59284-0", "Consent Document")


@dataclass(frozen=True)
class OwnCase:
    """One case; `history` is None where it is damaged, `report` until it is signed."""

    id: str
    sent_at: datetime
    history: History | None
    report: ReportValues | None


@dataclass(frozen=True)
class OwnConsent:
    """One decision of a patient; periods are half open."""

    id: str
    purpose: Purpose
    permitted: bool
    valid_from: datetime
    valid_until: datetime | None
    text_version: str


@dataclass(frozen=True)
class OwnRecord:
    patient: PatientValues
    organization: OrganizationValues
    cases: Sequence[OwnCase]
    consents: Sequence[OwnConsent]
    made_at: datetime


def to_record_bundle(record: OwnRecord, *, export: Export) -> Resource:
    """Give every resource once, behind those that it names."""
    made: dict[str, Resource] = {}
    for resource in _resources(record, export):
        address = f"{export.base_url}/{resource['resourceType']}/{resource['id']}"
        made.setdefault(address, resource)
    return checked(
        {
            "resourceType": "Bundle",
            "id": f"record-{record.patient.id}",
            "type": "collection",
            "timestamp": instant(record.made_at),
            "entry": [{"fullUrl": url, "resource": one} for url, one in made.items()],
        }
    )


def _resources(record: OwnRecord, export: Export) -> Iterator[Resource]:
    yield organization_resource(record.organization)
    yield patient_resource(record.patient, record.organization)
    for case in record.cases:
        if case.history is not None:
            yield to_questionnaire_response(record, case, case.history)
        if case.report is not None:
            yield from to_resources(case.report, export=export)
    for consent in record.consents:
        yield to_consent(record, consent)


def to_questionnaire_response(record: OwnRecord, case: OwnCase, history: History) -> Resource:
    """What the patient told about one spot, under the names of the form's fields."""
    case_number = Identifier(system=CASE_IDENTIFIER_SYSTEM, value=case.id)
    return checked(
        {
            "resourceType": "QuestionnaireResponse",
            "id": f"{case.id}-history",
            "text": generated_text("What you told us about the spot", []),
            "identifier": identifier_element(case_number),
            "questionnaire": f"{CANONICAL}/Questionnaire/history",
            "status": "completed",
            "subject": reference("Patient", record.patient.id),
            "authored": instant(case.sent_at),
            "author": reference("Patient", record.patient.id),
            "item": list(_items(history.to_dict())),
        }
    )


def _items(answers: dict[str, Any], parent: str = "") -> Iterator[Resource]:
    for name, value in answers.items():
        item: Resource = {"linkId": f"{parent}{name}", "text": name.replace("_", " ")}
        if isinstance(value, dict):
            item["item"] = list(_items(value, f"{name}."))
        else:
            item["answer"] = list(_answers(value if isinstance(value, list) else [value]))
        if item.get("item") or item.get("answer"):
            yield item


def _answers(values: Iterable[Any]) -> Iterator[Resource]:
    for value in values:
        if isinstance(value, bool):
            yield {"valueBoolean": value}
        elif isinstance(value, int):
            yield {"valueInteger": value}
        elif str(value).strip():
            yield {"valueString": str(value)}


def to_consent(record: OwnRecord, consent: OwnConsent) -> Resource:
    """One decision; `inactive` is one that was over when the record was made."""
    period = {"start": instant(consent.valid_from)}
    if consent.valid_until is not None:
        period["end"] = instant(consent.valid_until)
    is_over = consent.valid_until is not None and consent.valid_until <= record.made_at
    return checked(
        {
            "resourceType": "Consent",
            "id": consent.id,
            "text": generated_text("Consent", [("Purpose", consent.purpose.label)]),
            "status": "inactive" if is_over else "active",
            "scope": concept(_SCOPES[consent.purpose]),
            "category": [concept(_CONSENT_DOCUMENT), concept(text=consent.purpose.label)],
            "patient": reference("Patient", record.patient.id),
            "dateTime": instant(consent.valid_from),
            "organization": [reference("Organization", record.organization.id)],
            "policyRule": concept(text=f"Text {consent.text_version}"),
            "provision": {"type": "permit" if consent.permitted else "deny", "period": period},
        }
    )
