"""A signed case as a record system gets it: real rows, real keeper, real seals."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fhir.resources.R4B import get_fhir_model_class
from flask import Flask
from werkzeug.test import TestResponse

from clinic.audit_event import AuditAction
from clinic.fhir_checks import problems
from clinic.fhir_search import INCLUDES, REVERSE_INCLUDES
from clinic.records import ehr_clients
from clinic.records.db import database_now
from clinic.records.models import EhrClient, Patient
from clinic.terminology import PATIENT_IDENTIFIER_SYSTEM, SNOMED
from tests.browser_session import BrowserSession
from tests.portal_tools import DECISION, another_app, both_databases, entries
from tests.query_plans import statements
from tests.world import World
from web import fhir_adapter
from web.database import db

CHANGE = {name: value for name, value in DECISION.items() if name != "agreement"}
CHANGE |= {"status": "amended", "change_reason": "pathology", "version": "1", "action": "sign"}
EVERYTHING = [("_include", name) for name in INCLUDES] + [
    ("_revinclude", name) for name in REVERSE_INCLUDES
]


@dataclass(frozen=True)
class RecordSystem:
    """A registered client with its bearer token."""

    app: Flask
    client_id: str
    token: str

    @classmethod
    def of(cls, app: Flask, world: World, clinic_id: str) -> "RecordSystem":
        with world.sessions() as session, session.begin():
            made = ehr_clients.register(session, clinic_id=clinic_id, name="A record system")
        return cls(app, made.client_id, made.token)

    def get(self, path: str, *parameters: tuple[str, str]) -> TestResponse:
        query = f"?{urlencode(parameters)}" if parameters else ""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/fhir+json"}
        return self.app.test_client().get(f"/fhir/R4/{path}{query}", headers=headers)

    def found(self, *parameters: tuple[str, str]) -> list[dict[str, Any]]:
        answer = self.get("DiagnosticReport", *parameters)
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json.get("entry", [])]


@pytest.fixture
def system(app: Flask, world: World) -> RecordSystem:
    return RecordSystem.of(app, world, world.clinic_id)


def ids(resources: list[dict[str, Any]]) -> set[str]:
    return {one["id"] for one in resources}


@both_databases
def test_a_signed_report_is_read_with_the_doctors_words(world: World, system: RecordSystem) -> None:
    case = world.signed(world.alice, world.bob)
    (found,) = system.found()

    report = system.get(f"DiagnosticReport/{found['id']}").json

    assert report == found
    assert report["status"] == "final"
    assert report["subject"]["reference"].endswith(f"Patient/{world.alice.patient_id}")
    assert case in json.dumps(report["identifier"])
    assert "D22.5" in json.dumps(report["conclusionCode"])
    assert report["conclusion"]


def test_a_changed_report_is_read_as_its_newest_version_and_its_texts_with_it(
    world: World, system: RecordSystem, signed_in: Callable[[str], BrowserSession]
) -> None:
    case, bob = world.signed(world.alice, world.bob), signed_in("bob")
    bob.post(f"/review/{case}/change", {**CHANGE, "plan": "biopsy", "clinical_note": "Atypia."})

    (changed,) = system.found()
    assert (changed["status"], changed["meta"]["versionId"]) == ("amended", "2")
    assert "Atypia." in changed["conclusion"]
    assert "A clinical note." not in json.dumps(changed)
    assert system.found(("status", "amended")) == [changed]
    assert system.found(("status", "final")) == []

    bob.post(f"/review/{case}/addendum", {"clinical_note": "More.", "version": "2"})
    (longer,) = system.found()
    assert (longer["status"], longer["meta"]["versionId"]) == ("appended", "3")
    assert "More." in longer["conclusion"]


@both_databases
def test_a_search_brings_everything_along_and_each_resource_is_valid(
    world: World, system: RecordSystem
) -> None:
    world.signed(world.alice, world.bob)

    answer = system.get("DiagnosticReport", *EVERYTHING)

    resources = [entry["resource"] for entry in answer.json["entry"]]
    kinds = {one["resourceType"] for one in resources}
    assert kinds == {
        *("DiagnosticReport", "Patient", "Practitioner", "Organization", "Observation"),
        *("Media", "Provenance", "DocumentReference"),
    }
    get_fhir_model_class("Bundle").model_validate(answer.json)
    for one in resources:
        get_fhir_model_class(one["resourceType"]).model_validate(one)
        assert list(problems(one)) == []
    assert list(problems(answer.json)) == []


def test_every_reference_of_the_bundle_can_be_read(world: World, system: RecordSystem) -> None:
    world.signed(world.alice, world.bob)
    references = set(_references(system.found(*EVERYTHING)))

    assert {one.partition("/")[0] for one in references} >= {"Device", "Patient", "Media"}
    unread = {one for one in references if system.get(one).status_code != 200}
    assert unread == set()


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"].partition("/fhir/R4/")[2] or value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _references(one)


def test_the_patient_is_named_from_the_sealed_identity(world: World, system: RecordSystem) -> None:
    world.signed(world.alice, world.bob)

    patient = system.get(f"Patient/{world.alice.patient_id}").json

    assert patient["name"][0]["family"] == "Alice-Family"
    assert patient["name"][0]["given"] == ["Alice"]
    assert (patient["birthDate"], patient["gender"]) == ("1970-03-04", "female")


def test_the_reader_and_the_computer_are_named(world: World, system: RecordSystem) -> None:
    world.signed(world.alice, world.bob)
    resources = system.found(*EVERYTHING)

    (reader,) = [one for one in resources if one["resourceType"] == "Practitioner"]
    observations = [one for one in resources if one["resourceType"] == "Observation"]
    assert "REG-bob" in json.dumps(reader["identifier"])
    assert {one["status"] for one in observations} == {"preliminary", "final"}
    device = next(one["device"]["reference"] for one in observations if "device" in one)
    made = system.get(device.partition("/fhir/R4/")[2] or device).json
    assert "fake-1" in json.dumps(made)


@both_databases
def test_reports_are_found_by_patient_and_by_identifier(world: World, system: RecordSystem) -> None:
    alices, carols = world.signed(world.alice, world.bob), world.signed(world.carol, world.bob)
    with world.sessions() as session:
        number = session.get_one(Patient, world.alice.patient_id).record_number
    patient = f"Patient/{world.alice.patient_id}"

    def cases(*parameters: tuple[str, str]) -> set[str]:
        text = json.dumps(system.found(*parameters))
        return {case for case in (alices, carols) if case in text}

    assert cases() == {alices, carols}
    assert cases(("patient", patient)) == {alices}
    assert cases(("subject", patient)) == {alices}
    assert cases(("patient.identifier", number)) == {alices}
    assert cases(("patient.identifier", f"{PATIENT_IDENTIFIER_SYSTEM}|{number}")) == {alices}
    assert cases(("patient.identifier", f"http://other|{number}")) == set()
    assert cases(("patient.identifier", "DQ-NOBODY")) == set()
    assert cases(("patient", patient), ("patient.identifier", "DQ-NOBODY")) == set()


@both_databases
def test_pages_of_a_search_follow_each_other(world: World, system: RecordSystem) -> None:
    for _ in range(3):
        world.signed(world.alice, world.bob)
    seen: list[str] = []
    answer = system.get("DiagnosticReport", ("_count", "2"))
    assert answer.json["total"] == 3
    for _ in range(2):
        seen += [entry["resource"]["id"] for entry in answer.json["entry"]]
        links = {one["relation"]: one["url"] for one in answer.json["link"]}
        if "next" in links:
            answer = system.get(links["next"].partition("/fhir/R4/")[2])

    assert len(seen) == len(set(seen)) == 3
    assert "next" not in links


def test_many_matches_are_not_counted_unless_asked(
    world: World, system: RecordSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fhir_adapter, "COUNT_LIMIT", 1)
    world.signed(world.alice, world.bob)
    assert system.get("DiagnosticReport").json["total"] == 1
    world.signed(world.alice, world.bob)
    assert "total" not in system.get("DiagnosticReport").json
    assert system.get("DiagnosticReport", ("_total", "accurate")).json["total"] == 2
    assert system.get("DiagnosticReport", ("_summary", "count")).json["total"] == 2


def test_a_page_of_many_reports_asks_the_database_no_more_often_than_one_of_one(
    app: Flask, world: World, system: RecordSystem
) -> None:
    """The keeper decides case by case, in connections of its own; those are not counted here."""

    def asked() -> int:
        with app.app_context():
            engine = db.engine
        with statements(engine) as seen:
            system.found()
        return len([one for one in seen if one[0].startswith("SELECT")])

    world.signed(world.alice, world.bob)
    asked()
    one = asked()
    world.signed(world.carol, world.bob)
    world.signed(world.carol, world.dan)
    assert asked() == one


def test_what_is_not_signed_is_not_there(world: World, system: RecordSystem) -> None:
    signed = world.signed(world.alice, world.bob)
    (report,) = system.found()
    unsigned = world.first_read(world.carol, world.bob)

    assert (
        system.get(f"DiagnosticReport/{report['id'].replace(signed, unsigned)}").status_code == 404
    )
    assert system.get(f"Patient/{world.carol.patient_id}").status_code == 404
    assert system.found(("patient", f"Patient/{world.carol.patient_id}")) == []
    assert ids(system.found()) == {report["id"]}


def test_another_clinic_finds_and_reads_nothing(
    app: Flask, world: World, system: RecordSystem
) -> None:
    world.signed(world.alice, world.bob)
    (report,) = system.found()
    other = RecordSystem.of(app, world, world.other_clinic_id)

    assert other.found() == []
    for path in (f"DiagnosticReport/{report['id']}", f"Patient/{world.alice.patient_id}"):
        answer = other.get(path)
        assert answer.status_code == 404
        assert "Alice" not in answer.text


ENDS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "revoked": lambda now, _: {"revoked_at": now},
    "expired": lambda now, second: {"expires_at": now - second},
}


@pytest.mark.parametrize("how", ENDS)
def test_a_token_that_ended_is_refused(world: World, system: RecordSystem, how: str) -> None:
    world.signed(world.alice, world.bob)
    assert system.get("DiagnosticReport").status_code == 200
    with world.sessions() as session, session.begin():
        client = session.get_one(EhrClient, system.client_id)
        for name, value in ENDS[how](database_now(session), timedelta(seconds=1)).items():
            setattr(client, name, value)

    answer = system.get("DiagnosticReport")

    assert answer.status_code == 401
    assert answer.json["resourceType"] == "OperationOutcome"
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_a_scope_that_was_not_given_is_refused(app: Flask, world: World) -> None:
    world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        made = ehr_clients.register(
            session, clinic_id=world.clinic_id, name="x", scopes="system/Patient.r"
        )
    narrow = RecordSystem(app, made.client_id, made.token)

    assert narrow.get("DiagnosticReport").status_code == 403
    assert narrow.get(f"Patient/{world.alice.patient_id}").status_code == 200


def test_each_case_that_was_sent_is_audited(world: World, system: RecordSystem) -> None:
    cases = {world.signed(world.alice, world.bob), world.signed(world.carol, world.bob)}

    system.found(*EVERYTHING)
    system.get(f"Patient/{world.alice.patient_id}")
    system.get("Patient/nobody")

    found = entries(world, AuditAction.EHR_READ)
    assert {one.actor for one in found} == {f"ehr:{system.client_id}"}
    assert {one.submission_id for one in found[:2]} == cases
    assert {one.patient_id for one in found[:2]} == {
        world.alice.patient_id,
        world.carol.patient_id,
    }
    read, missed = found[2:]
    assert (read.patient_id, read.allowed) == (world.alice.patient_id, True)
    assert (missed.patient_id, missed.allowed) == (None, False)


def test_a_request_without_a_token_is_audited_as_refused(app: Flask, world: World) -> None:
    assert app.test_client().get("/fhir/R4/DiagnosticReport").status_code == 401

    (entry,) = entries(world, AuditAction.EHR_READ)
    assert (entry.actor, entry.allowed, entry.submission_id) == ("ehr:unknown", False, None)


def test_the_patient_sees_that_a_record_system_received_the_result(
    world: World, system: RecordSystem, signed_in: Callable[[str], Any]
) -> None:
    world.signed(world.alice, world.bob)
    system.found()

    page = signed_in("alice").get("/my-record/access").text

    assert ">A record system<" in page
    assert "received your signed result" in page


def test_with_the_key_service_down_nothing_is_sent(world: World, system: RecordSystem) -> None:
    world.signed(world.alice, world.bob)
    world.hints.down = True

    for path in ("DiagnosticReport", f"Patient/{world.alice.patient_id}"):
        answer = system.get(path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "20"
        assert answer.content_type.startswith("application/fhir+json")
        (issue,) = answer.json["issue"]
        assert (issue["severity"], issue["code"]) == ("error", "transient")
        assert "Alice" not in answer.text


def test_a_failure_of_the_program_is_an_outcome_without_inside_knowledge(
    world: World, system: RecordSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.signed(world.alice, world.bob)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a-secret")

    monkeypatch.setattr("web.fhir_adapter.reports.search", broken)
    answer = system.get("DiagnosticReport")

    assert answer.status_code == 500
    assert answer.json["resourceType"] == "OperationOutcome"
    assert "a-secret" not in answer.text


@pytest.fixture
def without_snomed(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = another_app(world, database_url, tmp_path, snomed=False)
    yield app
    with app.app_context():
        db.engine.dispose()


def test_snomed_codes_can_be_switched_off(
    world: World, system: RecordSystem, without_snomed: Flask
) -> None:
    world.signed(world.alice, world.bob)
    other = RecordSystem(without_snomed, system.client_id, system.token)

    assert SNOMED in json.dumps(system.found(*EVERYTHING))
    resources = other.found(*EVERYTHING)
    assert SNOMED not in json.dumps(resources)
    for one in resources:
        assert list(problems(one)) == []
