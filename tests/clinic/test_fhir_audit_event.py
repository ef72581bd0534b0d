"""Audit entries as FHIR AuditEvents: sound R4, and what the BALP profiles ask for."""

import base64
from datetime import UTC, datetime
from typing import Any

import fhirkit
import pytest

from clinic.audit_event import AuditAction, AuditEvent
from clinic.fhir_audit_event import AuditSource, Kind, kind_of, to_audit_event
from clinic.fhir_checks import problems

SOURCE = AuditSource(base_url="https://derm.example/fhir/R4")
PERSON = "ab" * 16
DCM = "http://dicom.nema.org/resources/ontology/DCM"


def event(action: AuditAction = AuditAction.CASE_READ, **about: Any) -> AuditEvent:
    given = {"actor": PERSON, "clinic_id": "c1", "patient_id": "p1", "submission_id": "s1"}
    at = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    return AuditEvent(at=at, action=action, **{**given, "detail": "code", **about})


def made(action: AuditAction = AuditAction.CASE_READ, **about: Any) -> dict[str, Any]:
    return to_audit_event(7, event(action, **about), source=SOURCE)


def agents(resource: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["type"]["coding"][0]["code"]: one for one in resource["agent"]}


def profile(resource: dict[str, Any]) -> str | None:
    found = resource.get("meta", {}).get("profile", [None])[0]
    return found and found.removeprefix("https://profiles.ihe.net/ITI/BALP/StructureDefinition/")


@pytest.mark.parametrize("action", AuditAction)
@pytest.mark.parametrize("about", [{}, {"allowed": False}, {"patient_id": None}], ids=str)
def test_every_action_becomes_a_sound_audit_event(
    action: AuditAction, about: dict[str, Any]
) -> None:
    resource = made(action, **about)

    assert problems(resource) == []
    assert [str(issue) for issue in fhirkit.validate(resource)] == []


@pytest.mark.parametrize(
    ("action", "name", "letter", "interaction"),
    [
        (AuditAction.CASE_READ, "PatientRead", "R", "read"),
        (AuditAction.CASE_LISTED, "PatientQuery", "E", "search-type"),
        (AuditAction.SUBMISSION_RECEIVED, "PatientCreate", "C", "create"),
        (AuditAction.PHOTOS_REPLACED, "PatientUpdate", "U", "update"),
        (AuditAction.PATIENT_ERASED, "PatientDelete", "D", "delete"),
    ],
)
def test_each_restful_act_claims_its_profile(
    action: AuditAction, name: str, letter: str, interaction: str
) -> None:
    resource = made(action)

    assert profile(resource) == f"IHE.BasicAudit.{name}"
    assert (resource["action"], resource["outcome"]) == (letter, "0")
    assert resource["type"]["code"] == "rest"
    assert resource["subtype"][0]["code"] == interaction
    assert {"110152", "110153"} <= set(agents(resource))
    assert all("network" in one for code, one in agents(resource).items() if code.startswith("11"))
    patient = [one for one in resource["entity"] if one["type"]["code"] == "1"]
    assert [one["what"]["reference"] for one in patient] == ["Patient/p1"]


def test_without_a_patient_the_profile_is_the_one_without() -> None:
    found = made(AuditAction.OPERATIONS_READ, patient_id=None, submission_id=None)
    assert profile(found) == "IHE.BasicAudit.Read"


def test_client_and_server_change_places_between_reading_and_writing() -> None:
    server = {"value": SOURCE.base_url, "system": "urn:ietf:rfc:3986"}
    assert agents(made())["110153"]["who"]["identifier"] == server
    written = agents(made(AuditAction.CASE_SIGNED))
    assert written["110152"]["who"]["identifier"] == server


def test_the_person_who_acts_is_the_requestor() -> None:
    reading, writing = agents(made())["IRCP"], agents(made(AuditAction.CASE_SIGNED))["AUT"]
    for one in (reading, writing):
        assert (one["who"]["identifier"]["value"], one["requestor"]) == (PERSON, True)


@pytest.mark.parametrize("actor", ["worker", "ehr:client-1", "command line"])
def test_a_program_or_a_record_system_is_the_client_itself(actor: str) -> None:
    found = agents(made(AuditAction.EHR_READ, actor=actor, detail="read Patient 200"))
    assert set(found) == {"110152", "110153"}
    client = found["110152"]
    assert (client["who"]["identifier"]["value"], client["requestor"]) == (actor, True)


def test_a_query_keeps_what_was_asked_for() -> None:
    about = event(AuditAction.EHR_READ, actor="ehr:x", detail="search-type DiagnosticReport 200")
    query = to_audit_event(7, about, source=SOURCE)["entity"][0]

    assert kind_of(about) is Kind.QUERY
    assert query["role"]["code"] == "24"
    assert b"search-type DiagnosticReport" in base64.b64decode(query["query"])
    assert "what" not in query


def test_a_copy_that_leaves_the_house_is_a_privacy_disclosure() -> None:
    resource = made(AuditAction.RECORD_EXPORTED)

    assert profile(resource) == "IHE.BasicAudit.PrivacyDisclosure.Source"
    assert (resource["type"]["code"], resource["action"]) == ("110106", "R")
    assert resource["subtype"][0]["code"] == "disclose"
    assert agents(resource)["110153"]["who"] == resource["source"]["observer"]


def test_a_refusal_has_another_outcome_and_claims_no_profile() -> None:
    resource = made(AuditAction.ACCESS_DENIED, allowed=False, detail="read case")

    assert (resource["outcome"], profile(resource)) == ("4", None)
    assert resource["outcomeDesc"] == "refused: read case"
    assert (resource["type"]["system"], resource["type"]["code"]) == (DCM, "110113")
    assert resource["subtype"][0]["code"] == "AuthZ-Role"


def test_the_house_s_own_action_and_place_are_kept() -> None:
    resource = made()
    assert resource["id"] == "audit-7"
    assert resource["subtype"][-1]["display"] == "case:read"
    assert resource["entity"][0]["what"]["identifier"]["value"] == "s1"
