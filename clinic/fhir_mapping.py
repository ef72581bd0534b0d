"""A signed report as FHIR R4 resources: values in, dicts out, each element written by hand.

Shapes: US Core 6.1.0 (DiagnosticReport-note and neighbours), contents of IHE RAD IMR 1.1.0, label
AIAST of AI Transparency on FHIR. The R4B models of fhir.resources check each dict; for the types
used here they equal R4 4.0.1. What only an AI said is never a conclusion of the report.
"""

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from clinic import terminology as codes
from clinic.fhir_elements import (
    Resource,
    checked,
    coding_element,
    concept,
    generated_text,
    human_name,
    identifier_element,
    instant,
    notes,
    reference,
)
from clinic.report_html import (
    AI_NOTICE,
    AI_UNAVAILABLE,
    full_name,
    plain,
    reader_name,
    screening_rows,
    site_text,
    summary_rows,
    to_html,
)
from clinic.report_values import (
    VIEW_NAMES,
    Identifier,
    OrganizationValues,
    PatientValues,
    PhotoValues,
    ReportStatus,
    ReportValues,
    ScreeningValues,
    require_signed,
)
from clinic.terminology import Coding

BundleKind = Literal["transaction", "collection"]

# In this order every resource stands behind those it names.
RESOURCE_TYPES = (
    "Organization",
    "Practitioner",
    "Patient",
    "Device",
    "Media",
    "Observation",
    "DiagnosticReport",
    "DocumentReference",
    "Provenance",
)

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
_BASE = "http://hl7.org/fhir/StructureDefinition"
_DECIMALS = 4
_MANUFACTURER = "DermQueue"


@dataclass(frozen=True, kw_only=True)
class Export:
    """For whom the report is made: `base_url` ends in /fhir/R4 and has no slash behind it."""

    base_url: str
    snomed: bool = True

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("https://", "http://")) or self.base_url.endswith("/"):
            raise ValueError("The FHIR base is an absolute URL without a slash at its end.")


class KeyKind(StrEnum):
    CASE = "case"
    PATIENT = "patient"
    PRACTITIONER = "practitioner"
    ORGANIZATION = "organization"
    PHOTO = "photo"
    DEVICE = "device"


@dataclass(frozen=True)
class ReportKey:
    """By what a report is found that contains a resource."""

    kind: KeyKind
    id: str


_SHARED_KINDS = {
    "DiagnosticReport": KeyKind.CASE,
    "Patient": KeyKind.PATIENT,
    "Practitioner": KeyKind.PRACTITIONER,
    "Organization": KeyKind.ORGANIZATION,
    "Media": KeyKind.PHOTO,
    "Device": KeyKind.DEVICE,
}
_CASE_SUFFIXES = {
    "Observation": ("-finding", "-ai"),
    "Provenance": ("-provenance",),
    "DocumentReference": ("-report",),
    "Binary": ("-report",),
}


def report_key(resource_type: str, resource_id: str) -> ReportKey | None:
    """Tell which report contains `resource_type/resource_id`; None for what no report contains."""
    if resource_type in _SHARED_KINDS:
        return ReportKey(_SHARED_KINDS[resource_type], resource_id)
    for suffix in _CASE_SUFFIXES.get(resource_type, ()):
        if resource_id.endswith(suffix) and resource_id != suffix:
            return ReportKey(KeyKind.CASE, resource_id.removesuffix(suffix))
    if resource_type in {"DocumentReference", "Binary"}:
        return ReportKey(KeyKind.PHOTO, resource_id)
    return None


def device_id(model_fingerprint: str) -> str:
    """Give the Device's id: the fingerprint without the characters that a FHIR id may not have."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in model_fingerprint)
    return kept[:64]


def to_patient(values: ReportValues, *, export: Export) -> Resource:
    del export
    return patient_resource(values.patient, values.organization)


def patient_resource(patient: PatientValues, organization: OrganizationValues) -> Resource:
    return checked(
        {
            "resourceType": "Patient",
            "id": patient.id,
            "meta": {"profile": [f"{_US_CORE}/us-core-patient"]},
            "text": generated_text("Patient", [("Name", full_name(patient))]),
            "identifier": [identifier_element(i) for i in patient.identifiers],
            "active": True,
            "name": [human_name(patient.family, patient.given)],
            "gender": patient.sex,
            "birthDate": patient.birth_date.isoformat() if patient.birth_date else None,
            "managingOrganization": _organization_reference(organization),
        }
    )


def to_practitioner(values: ReportValues, *, export: Export) -> Resource:
    del export
    practitioner = values.practitioner
    return checked(
        {
            "resourceType": "Practitioner",
            "id": practitioner.id,
            "meta": {"profile": [f"{_US_CORE}/us-core-practitioner"]},
            "text": generated_text("Dermatologist", [("Name", reader_name(values))]),
            "identifier": [identifier_element(practitioner.registration)],
            "active": True,
            "name": [human_name(practitioner.family, practitioner.given)],
        }
    )


def to_organization(values: ReportValues, *, export: Export) -> Resource:
    del export
    return organization_resource(values.organization)


def organization_resource(organization: OrganizationValues) -> Resource:
    own = Identifier(system=codes.ORGANIZATION_IDENTIFIER_SYSTEM, value=organization.id)
    return checked(
        {
            "resourceType": "Organization",
            "id": organization.id,
            "meta": {"profile": [f"{_US_CORE}/us-core-organization"]},
            "text": generated_text("Clinic", [("Name", organization.name)]),
            "identifier": [identifier_element(own)],
            "active": True,
            "name": plain(organization.name),
        }
    )


def to_device(values: ReportValues, *, export: Export) -> Resource | None:
    """Give the model that analysed the photos; None when the AI was unavailable."""
    del export
    screening = values.screening
    if screening is None:
        return None
    name = "DermQueue lesion classifier"
    return checked(
        {
            "resourceType": "Device",
            "id": device_id(screening.model_fingerprint),
            "meta": {"profile": [f"{_BASE}/Device"]},
            "text": generated_text(name, [("Version", screening.model_version)]),
            "status": "active",
            "manufacturer": _MANUFACTURER,
            "deviceName": [{"name": name, "type": "model-name"}],
            "modelNumber": screening.model_version,
            "type": concept(codes.AI_DEVICE, text="Artificial intelligence software"),
            "version": [
                {"type": {"text": "model"}, "value": screening.model_version},
                {"type": {"text": "weights fingerprint"}, "value": screening.model_fingerprint},
            ],
            "owner": _organization(values),
        }
    )


def to_media(values: ReportValues, photo: PhotoValues, *, export: Export) -> Resource:
    require_signed(values)
    dermoscopic = photo.view == "dermoscopic"
    modality = codes.DERMOSCOPY_MODALITY if dermoscopic else codes.CAMERA_MODALITY
    return checked(
        {
            "resourceType": "Media",
            "id": photo.id,
            "meta": _meta(values, f"{_BASE}/Media"),
            "text": generated_text(VIEW_NAMES[photo.view], [("Site", site_text(values))]),
            "status": "completed",
            "type": concept(codes.IMAGE_MEDIA),
            "modality": concept(modality),
            "view": {"text": VIEW_NAMES[photo.view]},
            "subject": _patient(values),
            "createdDateTime": instant(photo.created_at),
            "issued": instant(values.case.submitted_at),
            "bodySite": _body_site(values, export),
            "content": _photo_attachment(photo, export),
        }
    )


def to_ai_observation(values: ReportValues, *, export: Export) -> Resource | None:
    """Give the AI's output, always preliminary; None when the AI was unavailable."""
    require_signed(values)
    screening = values.screening
    if screening is None:
        return None
    top = codes.LESION_CLASSES[screening.top_class]
    return checked(
        {
            "resourceType": "Observation",
            "id": f"{values.case.id}-ai",
            "meta": _meta(
                values,
                f"{_US_CORE}/us-core-observation-clinical-result",
                security=codes.AI_ASSERTED,
            ),
            "text": generated_text(AI_NOTICE, screening_rows(screening)),
            "status": "preliminary",
            "category": [concept(codes.CATEGORY_IMAGING)],
            "code": concept(codes.AI_LESION_CLASS, text=AI_NOTICE),
            "subject": _patient(values),
            "effectiveDateTime": instant(values.case.submitted_at),
            "issued": instant(screening.analysed_at),
            "performer": [_organization(values)],
            "valueCodeableConcept": concept(top.coding),
            "note": notes(_screening_notes(screening)),
            "bodySite": _body_site(values, export),
            "device": reference("Device", device_id(screening.model_fingerprint)),
            "derivedFrom": _media(values),
            "component": _probabilities(screening),
        }
    )


def _observation_status(status: ReportStatus) -> str:
    """The value set of an Observation knows no addendum: with one it is amended."""
    return ReportStatus.AMENDED if status is ReportStatus.APPENDED else status.value


def to_finding_observation(values: ReportValues, *, export: Export) -> Resource:
    sign_off = require_signed(values)
    finding = sign_off.finding
    plan = codes.MANAGEMENT_PLANS[finding.plan]
    return checked(
        {
            "resourceType": "Observation",
            "id": f"{values.case.id}-finding",
            "meta": _meta(values, f"{_US_CORE}/us-core-observation-clinical-result"),
            "text": generated_text("Dermatologist's finding", summary_rows(values)),
            "status": _observation_status(sign_off.status),
            "category": [concept(codes.CATEGORY_EXAM)],
            "code": concept(codes.FINDINGS, text="Dermatologist's finding"),
            "subject": _patient(values),
            "effectiveDateTime": instant(values.case.submitted_at),
            "issued": instant(sign_off.at),
            "performer": [_practitioner(values), _organization(values)],
            "valueCodeableConcept": _diagnosis(values, export, group=True),
            "note": notes([finding.clinical_text]),
            "bodySite": _body_site(values, export),
            "derivedFrom": _media(values),
            "component": [
                *_confidence(finding.confidence),
                {"code": concept(codes.PLAN), "valueCodeableConcept": concept(plan)},
            ],
        }
    )


def to_diagnostic_report(values: ReportValues, *, export: Export) -> Resource:
    sign_off = require_signed(values)
    case_number = Identifier(system=codes.CASE_IDENTIFIER_SYSTEM, value=values.case.id)
    return checked(
        {
            "resourceType": "DiagnosticReport",
            "id": values.case.id,
            "meta": _meta(values, f"{_US_CORE}/us-core-diagnosticreport-note"),
            "text": generated_text("Dermatology report", summary_rows(values)),
            "identifier": [identifier_element(case_number)],
            "status": sign_off.status.value,
            "category": [concept(codes.IMAGING_SERVICE), concept(codes.RADIOLOGY_CATEGORY)],
            "code": _report_code(values, export),
            "subject": _patient(values),
            "effectiveDateTime": instant(values.case.submitted_at),
            "issued": instant(sign_off.at),
            "performer": [_organization(values), _practitioner(values)],
            "resultsInterpreter": [_practitioner(values)],
            "result": _results(values),
            "media": [
                {"comment": VIEW_NAMES[p.view], "link": reference("Media", p.id)}
                for p in values.photos
            ],
            "conclusion": _conclusion(values),
            "conclusionCode": [_diagnosis(values, export, group=False)],
            "presentedForm": [_report_attachment(values, export)],
        }
    )


def to_document_reference(values: ReportValues, *, export: Export) -> Resource:
    """Give the report as a document, for the clients that know no DiagnosticReport."""
    sign_off = require_signed(values)
    withdrawn = sign_off.status is ReportStatus.ENTERED_IN_ERROR
    unchanged = sign_off.status in {ReportStatus.FINAL, ReportStatus.ENTERED_IN_ERROR}
    doc_status = sign_off.status.value if unchanged else "amended"
    return checked(
        {
            "resourceType": "DocumentReference",
            "id": f"{values.case.id}-report",
            "meta": _meta(values, f"{_US_CORE}/us-core-documentreference"),
            "text": generated_text("Dermatology report", summary_rows(values)),
            "status": "entered-in-error" if withdrawn else "current",
            "docStatus": doc_status,
            "type": concept(codes.DERMATOLOGY_NOTE),
            "category": [concept(codes.CLINICAL_NOTE)],
            "subject": _patient(values),
            "date": instant(sign_off.at),
            "author": [_practitioner(values), _organization(values)],
            "custodian": _organization(values),
            "content": [{"attachment": _report_attachment(values, export)}],
            "context": {"related": [reference("DiagnosticReport", values.case.id)]},
        }
    )


def to_photo_document_reference(
    values: ReportValues, photo: PhotoValues, *, export: Export
) -> Resource:
    """Give a photo as a document too, because Media is gone in the later releases of FHIR."""
    require_signed(values)
    return checked(
        {
            "resourceType": "DocumentReference",
            "id": photo.id,
            "meta": _meta(values, f"{_BASE}/DocumentReference"),
            "text": generated_text(VIEW_NAMES[photo.view], [("Site", site_text(values))]),
            "status": "current",
            "type": concept(codes.IMAGE_DOCUMENT),
            "category": [{"text": "Clinical photo"}],
            "subject": _patient(values),
            "date": instant(photo.created_at),
            "custodian": _organization(values),
            "content": [{"attachment": _photo_attachment(photo, export)}],
            "context": {"related": [reference("Media", photo.id)]},
        }
    )


def to_provenance(values: ReportValues, *, export: Export) -> Resource:
    del export
    sign_off = require_signed(values)
    return checked(
        {
            "resourceType": "Provenance",
            "id": f"{values.case.id}-provenance",
            "meta": _meta(values, f"{_US_CORE}/us-core-provenance"),
            "text": generated_text(
                "Origin of the report",
                [("Signed by", reader_name(values)), ("For", values.organization.name)],
            ),
            "target": [reference("DiagnosticReport", values.case.id)],
            "occurredDateTime": instant(sign_off.at),
            "recorded": instant(sign_off.at),
            "activity": concept(codes.LEGALLY_AUTHENTICATED),
            "agent": _agents(values),
            "entity": [
                {"role": "source", "what": reference("Media", photo.id)} for photo in values.photos
            ],
        }
    )


def to_binary(values: ReportValues, *, export: Export) -> Resource:
    """Give the report's page as the Binary behind `presentedForm`."""
    del export
    require_signed(values)
    return checked(
        {
            "resourceType": "Binary",
            "id": f"{values.case.id}-report",
            "meta": {"versionId": str(values.version), "lastUpdated": _updated(values)},
            "contentType": "text/html",
            "securityContext": reference("DiagnosticReport", values.case.id),
            "data": base64.b64encode(to_html(values)).decode(),
        }
    )


def to_resources(
    values: ReportValues, *, export: Export, types: Collection[str] = RESOURCE_TYPES
) -> list[Resource]:
    """Give the resources of one report, each after those it names; not the page behind its URL."""
    require_signed(values)
    made: list[Resource | None] = []
    for resource_type in (known for known in RESOURCE_TYPES if known in types):
        made.extend(_MAKERS[resource_type](values, export))
    return [resource for resource in made if resource is not None]


def to_bundle(values: ReportValues, *, export: Export, kind: BundleKind) -> Resource:
    """Give the whole report; a transaction puts each resource under its id, so it may repeat."""
    entries: list[Resource] = []
    for resource in to_resources(values, export=export):
        address = f"{resource['resourceType']}/{resource['id']}"
        entry: Resource = {"fullUrl": f"{export.base_url}/{address}", "resource": resource}
        if kind == "transaction":
            entry["request"] = {"method": "PUT", "url": address}
        entries.append(entry)
    return checked(
        {
            "resourceType": "Bundle",
            "id": f"{values.case.id}-{kind}",
            "meta": {"lastUpdated": _updated(values)},
            "type": kind,
            "timestamp": _updated(values),
            "entry": entries,
        }
    )


def _meta(values: ReportValues, profile: str, *, security: Coding | None = None) -> Resource:
    meta: Resource = {
        "versionId": str(values.version),
        "lastUpdated": _updated(values),
        "profile": [profile],
    }
    if security is not None:
        meta["security"] = [coding_element(security)]
    return meta


def _updated(values: ReportValues) -> str:
    return instant(require_signed(values).at)


def _patient(values: ReportValues) -> Resource:
    return reference("Patient", values.patient.id)


def _practitioner(values: ReportValues) -> Resource:
    return reference("Practitioner", values.practitioner.id, reader_name(values))


def _organization(values: ReportValues) -> Resource:
    return _organization_reference(values.organization)


def _organization_reference(organization: OrganizationValues) -> Resource:
    return reference("Organization", organization.id, plain(organization.name))


def _media(values: ReportValues) -> list[Resource]:
    return [reference("Media", photo.id) for photo in values.photos]


def _results(values: ReportValues) -> list[Resource]:
    kinds = ("finding", "ai") if values.screening is not None else ("finding",)
    return [reference("Observation", f"{values.case.id}-{kind}") for kind in kinds]


def _agents(values: ReportValues) -> list[Resource]:
    whom = _organization(values)
    author = {
        "type": concept(codes.AUTHOR),
        "who": _practitioner(values),
        "onBehalfOf": whom,
    }
    if values.screening is None:
        return [author]
    model = reference("Device", device_id(values.screening.model_fingerprint))
    return [author, {"type": concept(codes.ASSEMBLER), "who": model, "onBehalfOf": whom}]


def _report_code(values: ReportValues, export: Export) -> Resource:
    dermoscopic = any(photo.view == "dermoscopic" for photo in values.photos)
    more = (codes.DERMATOSCOPY,) if dermoscopic and export.snomed else ()
    return concept(codes.DERMATOLOGY_NOTE, *more, text="Dermatology report")


def _body_site(values: ReportValues, export: Export) -> Resource:
    site = codes.BODY_SITES[values.case.body_site]
    codings = (site.snomed, site.coding) if export.snomed else (site.coding,)
    return concept(*codings, text=site_text(values))


def _diagnosis(values: ReportValues, export: Export, *, group: bool) -> Resource:
    """Code what was signed; `group` adds the class of our own, which is no diagnosis."""
    finding = require_signed(values).finding
    codings = codes.diagnosis_codings(
        lesion_class=finding.lesion_class, icd10=finding.icd10, snomed=export.snomed
    )
    if group and finding.lesion_class is not None:
        codings = (*codings, codes.LESION_CLASSES[finding.lesion_class].coding)
    return concept(*codings, text=finding.name)


def _confidence(words: str) -> list[Resource]:
    if not plain(words):
        return []
    return [{"code": concept(codes.CONFIDENCE), "valueCodeableConcept": concept(text=words)}]


def _conclusion(values: ReportValues) -> str:
    finding = require_signed(values).finding
    plan = codes.MANAGEMENT_PLANS[finding.plan].display
    sentences = [
        f"{finding.name} ({finding.confidence})" if plain(finding.confidence) else finding.name,
        finding.clinical_text,
        f"Plan: {plan}.",
        "" if values.screening else AI_UNAVAILABLE,
    ]
    return "\n".join(plain(sentence) for sentence in sentences if plain(sentence))


def _screening_notes(screening: ScreeningValues) -> list[str]:
    return [f"Urgency: {screening.urgency}", *screening.reasons]


def _probabilities(screening: ScreeningValues) -> list[Resource]:
    """Give all seven; rounded, because a float's tail claims an accuracy that is not there."""
    return [
        {
            "code": concept(known.coding),
            "valueQuantity": {
                "value": round(screening.probabilities[code], _DECIMALS),
                "unit": "probability",
                "system": codes.UCUM,
                "code": "1",
            },
        }
        for code, known in codes.LESION_CLASSES.items()
    ]


def _photo_attachment(photo: PhotoValues, export: Export) -> Resource:
    attachment: Resource = {
        "contentType": photo.content_type,
        "url": f"{export.base_url}/Binary/{photo.id}",
        "title": VIEW_NAMES[photo.view],
        "creation": instant(photo.created_at),
    }
    if photo.size is not None:
        attachment["size"] = photo.size
    if photo.sha1 is not None:
        attachment["hash"] = base64.b64encode(photo.sha1).decode()
    return attachment


def _report_attachment(values: ReportValues, export: Export) -> Resource:
    page = to_html(values)
    digest = hashlib.sha1(page, usedforsecurity=False).digest()  # FHIR's Attachment.hash is SHA-1.
    return {
        "contentType": "text/html",
        "language": "en",
        "url": f"{export.base_url}/Binary/{values.case.id}-report",
        "size": len(page),
        "hash": base64.b64encode(digest).decode(),
        "title": "Dermatology report",
        "creation": _updated(values),
    }


_MAKERS: Mapping[str, Callable[[ReportValues, Export], list[Resource | None]]] = {
    "Organization": lambda values, export: [to_organization(values, export=export)],
    "Practitioner": lambda values, export: [to_practitioner(values, export=export)],
    "Patient": lambda values, export: [to_patient(values, export=export)],
    "Device": lambda values, export: [to_device(values, export=export)],
    "Media": lambda values, export: [to_media(values, p, export=export) for p in values.photos],
    "Observation": lambda values, export: [
        to_finding_observation(values, export=export),
        to_ai_observation(values, export=export),
    ],
    "DiagnosticReport": lambda values, export: [to_diagnostic_report(values, export=export)],
    "DocumentReference": lambda values, export: [
        to_document_reference(values, export=export),
        *(to_photo_document_reference(values, p, export=export) for p in values.photos),
    ],
    "Provenance": lambda values, export: [to_provenance(values, export=export)],
}
