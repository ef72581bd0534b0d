import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime

import pytest
from fhir.resources.R4B import get_fhir_model_class

from clinic.fhir_mapping import (
    Export,
    KeyKind,
    ReportKey,
    device_id,
    report_key,
    to_ai_observation,
    to_binary,
    to_bundle,
    to_device,
    to_diagnostic_report,
    to_document_reference,
    to_finding_observation,
    to_media,
    to_organization,
    to_patient,
    to_photo_document_reference,
    to_practitioner,
    to_provenance,
    to_resources,
)
from clinic.report_html import to_html
from clinic.report_values import (
    NotSignedError,
    ReportStatus,
)
from clinic.terminology import (
    BODY_SITES,
    ICD10CM,
    LESION_CLASS_SYSTEM,
    LESION_CLASSES,
    LOINC,
    SNOMED,
)
from tests.clinic.report_factory import (
    FINDING,
    FINGERPRINT,
    PATIENT,
    PHOTOS,
    SCREENING,
    make_report,
)

BASE = "https://derm.example/fhir/R4"
EXPORT = Export(base_url=BASE)
WITHOUT_SNOMED = Export(base_url=BASE, snomed=False)


def pairs(concept):
    return [(c["system"], c["code"]) for c in concept.get("coding", [])]


def strings(node):
    """Every string of a resource, wherever it stands."""
    if isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def by_type(resources, name):
    return [r for r in resources if r["resourceType"] == name]


def test_the_report_says_what_the_dermatologist_signed():
    report = to_diagnostic_report(make_report(), export=EXPORT)
    text = report.pop("text")
    assert text["status"] == "generated"
    assert "Melanocytic nevus" in text["div"]
    assert report == {
        "resourceType": "DiagnosticReport",
        "id": "case-1",
        "meta": {
            "versionId": "1",
            "lastUpdated": "2026-11-21T14:00:05Z",
            "profile": [
                "http://hl7.org/fhir/us/core/StructureDefinition/us-core-diagnosticreport-note"
            ],
        },
        "identifier": [{"system": "https://dermqueue.org/fhir/sid/case", "value": "case-1"}],
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                        "code": "IMG",
                        "display": "Diagnostic Imaging",
                    }
                ],
                "text": "Diagnostic Imaging",
            },
            {
                "coding": [{"system": LOINC, "code": "LP29684-5", "display": "Radiology"}],
                "text": "Radiology",
            },
        ],
        "code": {
            "coding": [
                {"system": LOINC, "code": "34759-1", "display": "Dermatology Note"},
                {
                    "system": SNOMED,
                    "code": "1237125003",
                    "display": "Optical dermatoscopy of skin",
                },
            ],
            "text": "Dermatology report",
        },
        "subject": {"reference": "Patient/patient-1"},
        "effectiveDateTime": "2026-11-20T08:15:00Z",
        "issued": "2026-11-21T14:00:05Z",
        "performer": [
            {"reference": "Organization/clinic-1", "display": "Skin Clinic North & Lake"},
            {"reference": "Practitioner/doctor-1", "display": "Chidi Okafor"},
        ],
        "resultsInterpreter": [{"reference": "Practitioner/doctor-1", "display": "Chidi Okafor"}],
        "result": [
            {"reference": "Observation/case-1-finding"},
            {"reference": "Observation/case-1-ai"},
        ],
        "media": [
            {"comment": "Overview photo", "link": {"reference": "Media/photo-1"}},
            {"comment": "Dermoscopic photo", "link": {"reference": "Media/photo-2"}},
        ],
        "conclusion": (
            "Melanocytic nevus (probable)\n"
            "Symmetric network, two colours.\nNo regression.\n"
            "Plan: Examination in person."
        ),
        "conclusionCode": [
            {
                "coding": [
                    {
                        "system": SNOMED,
                        "code": "400010006",
                        "display": "Melanocytic nevus of skin",
                    },
                    {"system": ICD10CM, "code": "D22.5"},
                ],
                "text": "Melanocytic nevus",
            }
        ],
        "presentedForm": report["presentedForm"],
    }


def test_the_presented_page_is_named_by_address_size_and_hash():
    report = make_report()
    (form,) = to_diagnostic_report(report, export=EXPORT)["presentedForm"]
    page = to_html(report)
    assert form["url"] == f"{BASE}/Binary/case-1-report"
    assert form["contentType"] == "text/html"
    assert form["size"] == len(page)
    assert base64.b64decode(form["hash"]) == hashlib.sha1(page).digest()
    assert "data" not in form
    (content,) = to_document_reference(report, export=EXPORT)["content"]
    assert content["attachment"] == form
    assert base64.b64decode(to_binary(report, export=EXPORT)["data"]) == page


def test_the_ai_observation_is_preliminary_labelled_and_made_by_a_device():
    ai = to_ai_observation(make_report(), export=EXPORT)
    assert ai["status"] == "preliminary"
    assert [(s["system"], s["code"]) for s in ai["meta"]["security"]] == [
        ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "AIAST")
    ]
    assert ai["device"] == {"reference": f"Device/{FINGERPRINT}"}
    assert ai["code"]["text"] == "AI lesion classification (not a diagnosis)"
    assert pairs(ai["valueCodeableConcept"]) == [(LESION_CLASS_SYSTEM, "mel")]
    assert ai["derivedFrom"] == [{"reference": "Media/photo-1"}, {"reference": "Media/photo-2"}]
    assert ai["note"][0] == {"text": "Urgency: urgent"}
    assert all(p["reference"].startswith("Organization/") for p in ai["performer"])


def test_the_ai_observation_stays_preliminary_in_an_amended_report():
    amended = make_report(status=ReportStatus.AMENDED, version=2)
    assert to_ai_observation(amended, export=EXPORT)["status"] == "preliminary"


def test_the_seven_probabilities_are_rounded_components():
    ai = to_ai_observation(make_report(), export=EXPORT)
    values = {c["code"]["coding"][0]["code"]: c["valueQuantity"]["value"] for c in ai["component"]}
    assert values == {
        "akiec": 0.01,
        "bcc": 0.02,
        "bkl": 0.1,
        "df": 0.0,
        "mel": 0.6123,
        "nv": 0.25,
        "vasc": 0.0077,
    }
    quantity = ai["component"][0]["valueQuantity"]
    assert (quantity["system"], quantity["code"]) == ("http://unitsofmeasure.org", "1")
    assert "0000000" not in json.dumps(ai["component"])


def test_the_finding_is_final_and_performed_by_people():
    finding = to_finding_observation(make_report(), export=EXPORT)
    assert finding["status"] == "final"
    assert pairs(finding["code"]) == [(LOINC, "59776-5")]
    assert pairs(finding["valueCodeableConcept"]) == [
        (SNOMED, "400010006"),
        (ICD10CM, "D22.5"),
        (LESION_CLASS_SYSTEM, "nv"),
    ]
    assert [p["reference"] for p in finding["performer"]] == [
        "Practitioner/doctor-1",
        "Organization/clinic-1",
    ]
    assert "device" not in finding
    confidence, plan = finding["component"]
    assert confidence["valueCodeableConcept"] == {"text": "probable"}
    assert plan["valueCodeableConcept"]["coding"][0]["code"] == "in_person"
    assert "security" not in finding["meta"]


@pytest.mark.parametrize("signed", sorted(LESION_CLASSES))
@pytest.mark.parametrize("predicted", sorted(LESION_CLASSES))
def test_a_class_that_only_the_ai_named_never_reaches_the_conclusion(predicted, signed):
    screening = replace(SCREENING, top_class=predicted)
    target = LESION_CLASSES[signed].targets[0]
    finding = replace(FINDING, diagnosis=signed, icd10=target.icd10.code)
    report = to_diagnostic_report(make_report(screening=screening, finding=finding), export=EXPORT)
    (conclusion,) = report["conclusionCode"]
    expected = [(c.system, c.code) for c in (target.snomed, target.icd10) if c]
    assert pairs(conclusion) == expected
    assert LESION_CLASS_SYSTEM not in json.dumps(report)
    if predicted != signed:
        assert LESION_CLASSES[predicted].display not in json.dumps(report)


def test_another_diagnosis_keeps_the_words_of_the_dermatologist():
    finding = replace(FINDING, diagnosis="other", diagnosis_text="Psoriasis", icd10=None)
    report = make_report(finding=finding)
    assert to_diagnostic_report(report, export=EXPORT)["conclusionCode"] == [{"text": "Psoriasis"}]
    value = to_finding_observation(report, export=EXPORT)["valueCodeableConcept"]
    assert value == {"text": "Psoriasis"}


@pytest.mark.parametrize(
    "unsigned",
    [
        {"status": ReportStatus.UNSIGNED},
        {"finding": None},
        {"signed_at": None},
        {"status": ReportStatus.UNSIGNED, "finding": None, "signed_at": None},
    ],
)
def test_nothing_of_an_unsigned_case_is_ever_exported(unsigned):
    report = make_report(**unsigned)
    photo = report.photos[0]
    makers = [
        to_diagnostic_report,
        to_ai_observation,
        to_finding_observation,
        to_document_reference,
        to_provenance,
        to_binary,
        to_resources,
        lambda values, export: to_media(values, photo, export=export),
        lambda values, export: to_photo_document_reference(values, photo, export=export),
        lambda values, export: to_bundle(values, export=export, kind="transaction"),
        lambda values, **_: to_html(values),
    ]
    for make in makers:
        with pytest.raises(NotSignedError):
            make(report, export=EXPORT)


def test_without_ai_there_is_a_report_and_it_says_so():
    report = make_report(screening=None)
    resources = to_resources(report, export=EXPORT)
    assert by_type(resources, "Device") == []
    assert [r["id"] for r in by_type(resources, "Observation")] == ["case-1-finding"]
    (sent,) = by_type(resources, "DiagnosticReport")
    assert sent["result"] == [{"reference": "Observation/case-1-finding"}]
    assert "AI unavailable" in sent["conclusion"]
    (provenance,) = by_type(resources, "Provenance")
    assert len(provenance["agent"]) == 1
    assert "AIAST" not in json.dumps(resources)
    assert b"AI unavailable" in to_html(report)


def test_provenance_names_author_and_assembler_each_for_the_clinic():
    provenance = to_provenance(make_report(), export=EXPORT)
    author, assembler = provenance["agent"]
    assert author["type"]["coding"][0]["code"] == "author"
    assert author["who"]["reference"] == "Practitioner/doctor-1"
    assert assembler["type"]["coding"][0]["code"] == "assembler"
    assert assembler["who"]["reference"] == f"Device/{FINGERPRINT}"
    assert {a["onBehalfOf"]["reference"] for a in provenance["agent"]} == {"Organization/clinic-1"}
    assert provenance["target"] == [{"reference": "DiagnosticReport/case-1"}]
    assert provenance["activity"]["coding"][0]["code"] == "LA"
    assert [e["what"]["reference"] for e in provenance["entity"]] == [
        "Media/photo-1",
        "Media/photo-2",
    ]


@pytest.mark.parametrize(
    ("status", "version", "report", "finding", "document"),
    [
        (ReportStatus.FINAL, 1, "final", "final", ("current", "final")),
        (ReportStatus.AMENDED, 2, "amended", "amended", ("current", "amended")),
        (ReportStatus.CORRECTED, 3, "corrected", "corrected", ("current", "amended")),
        (ReportStatus.APPENDED, 4, "appended", "amended", ("current", "amended")),
        (
            ReportStatus.ENTERED_IN_ERROR,
            2,
            "entered-in-error",
            "entered-in-error",
            ("entered-in-error", "entered-in-error"),
        ),
    ],
)
def test_the_status_of_each_resource_follows_the_report(status, version, report, finding, document):
    values = make_report(status=status, version=version)
    sent = to_diagnostic_report(values, export=EXPORT)
    assert sent["status"] == report
    assert sent["meta"]["versionId"] == str(version)
    assert to_finding_observation(values, export=EXPORT)["status"] == finding
    paper = to_document_reference(values, export=EXPORT)
    assert (paper["status"], paper["docStatus"]) == document


@pytest.mark.parametrize(
    ("status", "version"), [(ReportStatus.FINAL, 2), (ReportStatus.AMENDED, 1)]
)
def test_a_version_that_contradicts_its_status_is_refused(status, version):
    with pytest.raises(ValueError, match="Version 1 is final"):
        to_diagnostic_report(make_report(status=status, version=version), export=EXPORT)


@pytest.mark.parametrize("screening", [SCREENING, None])
@pytest.mark.parametrize("diagnosis", sorted(LESION_CLASSES))
@pytest.mark.parametrize("site", sorted(BODY_SITES))
def test_the_switch_leaves_no_trace_of_snomed(diagnosis, site, screening):
    case = replace(make_report().case, body_site=site)
    finding = replace(FINDING, diagnosis=diagnosis, icd10=None)
    report = make_report(case=case, finding=finding, screening=screening)
    sent = [
        to_diagnostic_report(report, export=WITHOUT_SNOMED),
        to_finding_observation(report, export=WITHOUT_SNOMED),
        to_media(report, PHOTOS[1], export=WITHOUT_SNOMED),
    ]
    assert "snomed" not in json.dumps(sent).lower()


def test_without_snomed_the_icd_code_still_says_what_it_is():
    bundle = to_bundle(make_report(), export=WITHOUT_SNOMED, kind="collection")
    assert "snomed" not in json.dumps(bundle).lower()
    report = to_diagnostic_report(make_report(), export=WITHOUT_SNOMED)
    assert pairs(report["conclusionCode"][0]) == [(ICD10CM, "D22.5")]


def test_media_say_how_the_picture_was_taken_and_where_it_lies():
    overview, dermoscopic = (to_media(make_report(), p, export=EXPORT) for p in PHOTOS)
    assert overview["modality"]["coding"][0]["code"] == "XC"
    assert dermoscopic["modality"]["coding"][0]["code"] == "DMS"
    assert overview["content"] == {
        "contentType": "image/jpeg",
        "url": f"{BASE}/Binary/photo-1",
        "size": 120_000,
        "hash": base64.b64encode(bytes(range(20))).decode(),
        "title": "Overview photo",
        "creation": "2026-11-20T08:15:00Z",
    }
    assert {"size", "hash", "data"}.isdisjoint(dermoscopic["content"])
    assert pairs(overview["bodySite"])[0] == (SNOMED, "66643007")
    assert overview["bodySite"]["text"] == "back, left, between the shoulders"
    paper = to_photo_document_reference(make_report(), PHOTOS[0], export=EXPORT)
    assert paper["content"] == [{"attachment": overview["content"]}]


def test_the_device_names_the_model_and_its_weights():
    device = to_device(make_report(), export=EXPORT)
    assert device["id"] == FINGERPRINT
    assert [v["value"] for v in device["version"]] == ["2026.11.1", FINGERPRINT]
    assert device["type"]["coding"][0]["code"] == "123110"
    assert device["owner"]["reference"] == "Organization/clinic-1"


def test_a_fingerprint_of_any_spelling_gives_a_valid_id():
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", device_id("sha256:" + "ab" * 40))


def test_people_and_clinic_are_named_field_by_field():
    report = make_report()
    patient = to_patient(report, export=EXPORT)
    assert patient["identifier"] == [
        {"system": "https://dermqueue.org/fhir/sid/patient", "value": "P-1001"}
    ]
    assert patient["name"] == [{"use": "official", "family": "Meier", "given": ["Anna", "Maria"]}]
    assert (patient["gender"], patient["birthDate"]) == ("female", "1961-04-30")
    assert to_practitioner(report, export=EXPORT)["identifier"][0]["value"] == "R-77"
    assert to_organization(report, export=EXPORT)["name"] == "Skin Clinic North & Lake"


def test_what_is_unknown_is_left_out_and_never_empty():
    patient = replace(PATIENT, birth_date=None, given=("", " "))
    finding = replace(FINDING, clinical_text="  ", confidence="", icd10=None)
    report = make_report(patient=patient, finding=finding, photos=(), screening=None)
    bundle = to_bundle(report, export=EXPORT, kind="transaction")
    assert "birthDate" not in json.dumps(bundle)
    assert all(text.strip() for text in strings(bundle))
    assert "[]" not in json.dumps(bundle)
    assert "{}" not in json.dumps(bundle)


def test_control_characters_and_markup_in_a_text_do_no_harm():
    nasty = "a\x00b\x0b<script>alert(1)</script>\ud800 & \uffff\x1b[0m"
    finding = replace(FINDING, clinical_text=nasty, patient_text=nasty)
    patient = replace(PATIENT, family="O'Neil <b>")
    report = make_report(finding=finding, patient=patient)
    bundle = to_bundle(report, export=EXPORT, kind="collection")
    json.dumps(bundle, ensure_ascii=False).encode()
    for resource in (e["resource"] for e in bundle["entry"]):
        assert "<script" not in resource["text"]["div"]
    page = to_html(report).decode()
    assert "<script" not in page
    assert "ab&lt;script&gt;" in page
    assert "\x00" not in page


def test_equal_values_give_an_equal_page():
    assert to_html(make_report()) == to_html(make_report())


def test_a_time_without_a_zone_is_refused():
    naive = datetime(2026, 11, 21, 14, 0, 5)  # noqa: DTZ001
    with pytest.raises(ValueError, match="zone"):
        to_diagnostic_report(make_report(signed_at=naive), export=EXPORT)


def test_every_time_has_a_zone_and_only_the_birth_date_is_a_date():
    bundle = to_bundle(make_report(), export=EXPORT, kind="transaction")
    dates = {s for s in strings(bundle) if re.match(r"\d{4}-\d{2}", s)}
    assert {d for d in dates if not d.endswith("Z")} == {"1961-04-30"}


def test_a_transaction_puts_every_resource_under_its_own_address():
    bundle = to_bundle(make_report(), export=EXPORT, kind="transaction")
    assert bundle["type"] == "transaction"
    for entry in bundle["entry"]:
        address = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        assert entry["request"] == {"method": "PUT", "url": address}
        assert entry["fullUrl"] == f"{BASE}/{address}"
    assert "request" not in to_bundle(make_report(), export=EXPORT, kind="collection")["entry"][0]


def test_a_bundle_holds_what_every_reference_names():
    bundle = to_bundle(make_report(), export=EXPORT, kind="transaction")
    held = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle["entry"]}
    named = set(re.findall(r'"reference": "([^"]+)"', json.dumps(bundle)))
    assert named <= held
    assert len(held) == len(bundle["entry"]) == 13


@pytest.mark.parametrize("screening", [SCREENING, None])
def test_the_library_reads_back_each_resource_unchanged(screening):
    for resource in to_resources(make_report(screening=screening), export=EXPORT):
        model = get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert json.loads(model.model_dump_json()) == resource
        assert resource["text"]["div"].startswith('<div xmlns="http://www.w3.org/1999/xhtml">')
        assert resource["meta"]["profile"]


def test_every_resource_is_found_again_by_its_id():
    report = make_report()
    keys = {
        KeyKind.CASE: {"case-1"},
        KeyKind.PATIENT: {"patient-1"},
        KeyKind.PRACTITIONER: {"doctor-1"},
        KeyKind.ORGANIZATION: {"clinic-1"},
        KeyKind.PHOTO: {"photo-1", "photo-2"},
        KeyKind.DEVICE: {FINGERPRINT},
    }
    for resource in [*to_resources(report, export=EXPORT), to_binary(report, export=EXPORT)]:
        key = report_key(resource["resourceType"], resource["id"])
        assert key is not None
        assert key.id in keys[key.kind]
    assert report_key("Binary", "photo-1") == ReportKey(KeyKind.PHOTO, "photo-1")
    assert report_key("Observation", "-ai") is None
    assert report_key("Observation", "case-1") is None
    assert report_key("Basic", "case-1") is None


@pytest.mark.parametrize("base", ["derm.example/fhir/R4", "https://derm.example/fhir/R4/", ""])
def test_a_base_that_would_break_references_is_refused(base):
    with pytest.raises(ValueError, match="absolute URL"):
        Export(base_url=base)


def test_values_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="diagnosis"):
        replace(FINDING, diagnosis="wart")
    with pytest.raises(ValueError, match="needs a text"):
        replace(FINDING, diagnosis="other")
    with pytest.raises(ValueError, match="plan"):
        replace(FINDING, plan="wait")
    with pytest.raises(ValueError, match="seven classes"):
        replace(SCREENING, probabilities={"mel": 1.0})
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(SCREENING, probabilities={**SCREENING.probabilities, "mel": float("nan")})
    with pytest.raises(ValueError, match="lesion class"):
        replace(SCREENING, top_class="scc")
    with pytest.raises(ValueError, match="body site"):
        replace(make_report().case, body_site="elbow")
    with pytest.raises(ValueError, match="identifier"):
        replace(PATIENT, identifiers=())
    with pytest.raises(ValueError, match="family name"):
        replace(PATIENT, family=" ")
