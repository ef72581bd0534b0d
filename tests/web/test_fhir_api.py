import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import fhirkit
import pytest
from fhir.resources.R4B import get_fhir_model_class
from flask import Flask

from clinic.ehr_client import EhrClient
from clinic.fhir_capability import READ_TYPES
from clinic.fhir_checks import problems
from clinic.fhir_history import Withdrawal
from clinic.fhir_mapping import KeyKind, device_id
from clinic.fhir_search import PageKey, ReportPage
from clinic.report_values import Identifier, ReportStatus
from tests.clinic.report_factory import CLINIC, FINGERPRINT, PATIENT, PHOTOS, make_report
from web.fhir_api import create_fhir_blueprint
from web.permission import mark_of

BASE = "https://derm.example/fhir/R4"
EVERYTHING = frozenset({"system/*.rs"})
CLIENTS = {
    "alices-token": EhrClient(id="alice", clinic_id="clinic-1", scopes=EVERYTHING),
    "reports-only": EhrClient(
        id="rene", clinic_id="clinic-1", scopes=frozenset({"system/DiagnosticReport.rs"})
    ),
    "patients-only": EhrClient(
        id="pat", clinic_id="clinic-1", scopes=frozenset({"system/Patient.rs"})
    ),
    "other-clinic": EhrClient(id="otto", clinic_id="clinic-2", scopes=EVERYTHING),
}
SIGNED = datetime(2026, 11, 21, 14, 0, 5, tzinfo=UTC)


class MemorySource:
    """Reports in a list; `leaks` makes it forget the clinic, as a faulty source would.

    More than `counted` it counts only when asked to.
    """

    def __init__(self, reports, *, leaks=False, counted=1000, gone=()):
        self.reports = list(reports)
        self.leaks = leaks
        self.counted = counted
        self.withdrawn = set()
        self.gone = gone

    def _of(self, clinic_id):
        mine = [r for r in self.reports if self.leaks or r.organization.id == clinic_id]
        return sorted(mine, key=lambda r: (r.signed_at or SIGNED, r.case.id), reverse=True)

    def read(self, *, clinic_id, key):
        return next((r for r in self._of(clinic_id) if key.id in self._ids(r)[key.kind]), None)

    def is_withdrawn(self, *, clinic_id, key):
        return (clinic_id, key.id) in self.withdrawn

    def withdrawals(self, *, clinic_id, since, count, after):
        found = [
            one
            for of, one in self.gone
            if of == clinic_id
            and (since is None or one.at >= since)
            and (after is None or (one.at, one.case_id) < (after.at, after.case_id))
        ]
        return sorted(found, key=lambda one: (one.at, one.case_id), reverse=True)[:count]

    @staticmethod
    def _ids(report):
        model = report.screening.model_fingerprint if report.screening else ""
        return {
            KeyKind.CASE: {report.case.id},
            KeyKind.PATIENT: {report.patient.id},
            KeyKind.PRACTITIONER: {report.practitioner.id},
            KeyKind.ORGANIZATION: {report.organization.id},
            KeyKind.PHOTO: {p.id for p in report.photos},
            KeyKind.DEVICE: {device_id(model)},
        }

    @staticmethod
    def _matches(report, query):
        tokens = query.patient_identifiers
        return (
            report.status in query.statuses
            and query.patient_id in {None, report.patient.id}
            and (query.case_ids is None or report.case.id in query.case_ids)
            and query.effective.holds(report.case.submitted_at)
            and query.signed.holds(report.signed_at)
            and all(
                any(t.value == i.value and t.system in {None, i.system} for t in tokens)
                for i in report.patient.identifiers
                if tokens
            )
        )

    def search(self, *, clinic_id, query, count, after, exact):
        def place(report):
            key = PageKey.of(report, query)
            return key.at, key.case_id

        found = [r for r in self._of(clinic_id) if self._matches(r, query)]
        found.sort(key=place, reverse=True)
        behind = [r for r in found if after is None or place(r) < (after.at, after.case_id)]
        many = len(found) > self.counted and not exact
        total = None if many else len(found)
        return ReportPage(tuple(behind[:count]), total, more=len(behind) > count)


class Journal(list):
    def __call__(self, access):
        self.append(access)


def make_client(reports, *, leaks=False, counted=1000, gone=(), audit=None, **settings):
    app = Flask(__name__)
    app.register_blueprint(
        create_fhir_blueprint(
            reports=MemorySource(reports, leaks=leaks, counted=counted, gone=gone),
            authenticate=CLIENTS.get,
            base_url=BASE,
            audit=Journal() if audit is None else audit,
            **settings,
        )
    )
    return app.test_client()


def some_reports():
    """Five of Anna's, one of Ben's, one of another clinic, one that nobody has signed."""
    ben = replace(PATIENT, id="patient-2", identifiers=(Identifier(value="P-2002"),))
    far = replace(CLINIC, id="clinic-2")
    case = make_report().case
    annas = [
        make_report(
            case=replace(case, id=f"case-{n}", submitted_at=case.submitted_at + timedelta(days=n)),
            signed_at=SIGNED + timedelta(days=n),
            photos=tuple(replace(p, id=f"{p.id}-{n}") for p in PHOTOS) if n > 1 else PHOTOS,
        )
        for n in range(1, 6)
    ]
    annas[1] = replace(annas[1], status=ReportStatus.AMENDED, version=2)
    return [
        *annas,
        make_report(case=replace(case, id="case-ben"), patient=ben, photos=(), screening=None),
        make_report(case=replace(case, id="case-far"), organization=far),
        make_report(
            case=replace(case, id="case-open"),
            status=ReportStatus.UNSIGNED,
            finding=None,
            signed_at=None,
        ),
    ]


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def http(journal):
    return make_client(some_reports(), audit=journal)


def ask(http, path, *, token="alices-token", **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return http.get(f"/fhir/R4/{path}", headers=given)


def body(answer):
    """The JSON of an answer; every one of them must be valid FHIR for judges of others too."""
    assert answer.content_type == "application/fhir+json; charset=utf-8"
    resource = json.loads(answer.data)
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    assert [str(issue) for issue in fhirkit.validate(resource)] == []
    assert problems(resource) == []
    return resource


def refused(answer, status, code):
    assert answer.status_code == status
    outcome = body(answer)
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["severity"] == "error"
    assert issue["code"] == code
    assert issue["diagnostics"]
    return issue


def ids(bundle, mode="match"):
    return [
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in bundle.get("entry", [])
        if e["search"]["mode"] == mode
    ]


# The capability statement.


def test_metadata_is_open_and_true(http):
    statement = body(ask(http, "metadata", token=None))
    assert statement["resourceType"] == "CapabilityStatement"
    assert statement["fhirVersion"] == "4.0.1"
    assert "json" in statement["format"]
    assert statement["implementation"]["url"] == BASE
    (rest,) = statement["rest"]
    offered = {r["type"]: {i["code"] for i in r["interaction"]} for r in rest["resource"]}
    assert offered["DiagnosticReport"] == {"read", "search-type", "history-type"}
    assert set(offered) == set(READ_TYPES)
    (report,) = (r for r in rest["resource"] if r["type"] == "DiagnosticReport")
    for parameter in report["searchParam"]:
        value = {"token": "final", "date": "2026", "reference": "Patient/x"}[parameter["type"]]
        answer = ask(
            http, f"DiagnosticReport?{parameter['name']}={value}", Prefer="handling=strict"
        )
        assert answer.status_code == 200, parameter
    for name, promised in (
        ("_include", report["searchInclude"]),
        ("_revinclude", report["searchRevInclude"]),
    ):
        for value in promised:
            answer = ask(http, f"DiagnosticReport?{name}={value}", Prefer="handling=strict")
            assert answer.status_code == 200, value


# Reading.


@pytest.mark.parametrize(
    ("resource_type", "resource_id"),
    [
        ("DiagnosticReport", "case-1"),
        ("Observation", "case-1-ai"),
        ("Observation", "case-1-finding"),
        ("Patient", "patient-1"),
        ("Practitioner", "doctor-1"),
        ("Organization", "clinic-1"),
        ("Media", "photo-1"),
        ("Device", FINGERPRINT),
        ("Provenance", "case-1-provenance"),
        ("DocumentReference", "case-1-report"),
        ("DocumentReference", "photo-2"),
    ],
)
def test_every_resource_of_a_report_can_be_read(http, resource_type, resource_id):
    answer = ask(http, f"{resource_type}/{resource_id}")
    assert answer.status_code == 200
    resource = body(answer)
    assert (resource["resourceType"], resource["id"]) == (resource_type, resource_id)
    assert answer.headers["ETag"].startswith('W/"')
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert answer.headers["Cache-Control"] == "no-store"


def test_every_reference_of_a_report_can_be_followed(http):
    report = body(ask(http, "DiagnosticReport/case-1"))
    named = [report["subject"], *report["performer"], *report["result"]]
    named += [m["link"] for m in report["media"]]
    for reference in named:
        assert ask(http, reference["reference"]).status_code == 200


def test_the_etag_is_the_version(http):
    first, amended = ask(http, "DiagnosticReport/case-1"), ask(http, "DiagnosticReport/case-2")
    assert first.headers["ETag"] == 'W/"1"'
    assert amended.headers["ETag"] == 'W/"2"'
    assert body(amended)["status"] == "amended"
    assert first.headers["Last-Modified"] == "Sun, 22 Nov 2026 14:00:05 GMT"


@pytest.mark.parametrize("path", ["DiagnosticReport/case-1", "Patient/patient-1"])
def test_who_has_the_version_gets_304_without_a_body(http, path):
    first = ask(http, path)
    known = first.headers["ETag"]
    for etag in (known, known.removeprefix("W/"), f'"x", {known}', "*"):
        again = ask(http, path, If_None_Match=etag)
        assert again.status_code == 304
        assert again.data == b""
        assert again.headers["ETag"] == first.headers["ETag"]
    assert ask(http, path, If_None_Match='W/"other"').status_code == 200
    assert ask(http, path, If_Modified_Since=first.headers["Last-Modified"]).status_code == 304
    earlier = "Sun, 01 Nov 2026 00:00:00 GMT"
    assert ask(http, path, If_Modified_Since=earlier).status_code == 200


def test_a_head_request_gets_the_headers_only(http):
    answer = http.head(
        "/fhir/R4/DiagnosticReport/case-1", headers={"Authorization": "Bearer alices-token"}
    )
    assert answer.status_code == 200
    assert answer.data == b""
    assert answer.headers["ETag"] == 'W/"1"'


def test_the_presented_form_leads_to_the_page_it_describes(http):
    (form,) = body(ask(http, "DiagnosticReport/case-1"))["presentedForm"]
    answer = ask(http, form["url"].removeprefix(f"{BASE}/"), Accept="text/html")
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert len(answer.data) == form["size"]
    assert hashlib.sha1(answer.data).digest() == base64.b64decode(form["hash"])
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    (content,) = body(ask(http, "DocumentReference/case-1-report"))["content"]
    assert content["attachment"]["url"] == form["url"]


def test_the_page_comes_as_a_resource_for_who_asks_for_fhir(http):
    page = ask(http, "Binary/case-1-report").data
    binary = body(ask(http, "Binary/case-1-report", Accept="application/fhir+json"))
    assert base64.b64decode(binary["data"]) == page
    etag = ask(http, "Binary/case-1-report").headers["ETag"]
    assert ask(http, "Binary/case-1-report", If_None_Match=etag).status_code == 304
    refused(ask(http, "Binary/case-1-report", Accept="image/png"), 406, "not-supported")


def test_a_photo_is_named_but_not_released(http):
    media = body(ask(http, "Media/photo-1"))
    path = media["content"]["url"].removeprefix(f"{BASE}/")
    issue = refused(ask(http, path), 403, "forbidden")
    assert "not released" in issue["diagnostics"]
    refused(ask(http, "Binary/photo-99"), 404, "not-found")


def test_without_snomed_no_answer_holds_any():
    http = make_client(some_reports(), snomed=False)
    every = "DiagnosticReport?_include=DiagnosticReport:result&_include=DiagnosticReport:media"
    for path in ("DiagnosticReport/case-1", "Observation/case-1-finding", every):
        answer = ask(http, path)
        assert answer.status_code == 200
        assert b"snomed" not in answer.data.lower()
    assert b"snomed.info" in ask(make_client(some_reports()), "DiagnosticReport/case-1").data


# Who may.


def test_without_a_token_there_is_nothing(http):
    for path in ("DiagnosticReport", "DiagnosticReport/case-1", "Binary/photo-1", "Patient/x"):
        answer = ask(http, path, token=None)
        refused(answer, 401, "login")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer  ", "alices-token"])
def test_another_kind_of_credentials_is_no_token(http, header):
    answer = http.get("/fhir/R4/DiagnosticReport", headers={"Authorization": header})
    refused(answer, 401, "login")


def test_a_token_in_the_address_is_not_read(http):
    refused(ask(http, "DiagnosticReport?access_token=alices-token", token=None), 401, "login")


def test_an_unknown_token_is_told_apart(http):
    answer = ask(http, "DiagnosticReport", token="guess")
    refused(answer, 401, "login")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("resource_type", sorted(READ_TYPES))
def test_a_scope_for_another_type_opens_nothing(http, resource_type):
    token = "reports-only" if resource_type == "Patient" else "patients-only"
    answer = ask(http, f"{resource_type}/case-1", token=token)
    refused(answer, 403, "forbidden")
    challenge = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert f'scope="system/{resource_type}.r"' in challenge


def test_a_search_needs_the_scope_for_it(http):
    refused(ask(http, "DiagnosticReport", token="patients-only"), 403, "forbidden")


def test_what_is_included_needs_a_scope_as_well(http):
    path = "DiagnosticReport?_id=case-1&_include=DiagnosticReport:subject"
    assert ids(body(ask(http, path)), "include") == ["Patient/patient-1"]
    assert ids(body(ask(http, path, token="reports-only")), "include") == []


@pytest.mark.parametrize(
    "path",
    [
        "DiagnosticReport/case-1",
        "Patient/patient-1",
        "Media/photo-1",
        "Binary/photo-1",
        "Binary/case-1-report",
        "Observation/case-1-ai",
        "Provenance/case-1-provenance",
    ],
)
def test_another_clinic_sees_nothing_of_it(path):
    reports = [r for r in some_reports() if r.case.id != "case-far"]
    http = make_client(reports)
    refused(ask(http, path, token="other-clinic"), 404, "not-found")
    assert body(ask(http, "DiagnosticReport", token="other-clinic"))["total"] == 0


@pytest.mark.parametrize("path", ["DiagnosticReport/case-1", "Patient/patient-1", "Binary/photo-1"])
def test_a_source_that_forgets_the_clinic_still_leaks_nothing(path):
    http = make_client([make_report()], leaks=True)
    refused(ask(http, path, token="other-clinic"), 404, "not-found")
    refused(ask(http, "DiagnosticReport", token="other-clinic"), 500, "exception")


def test_every_route_says_who_may_use_it(http):
    views = http.application.view_functions
    marks = {name: mark_of(view) for name, view in views.items() if name.startswith("fhir.")}
    assert len(marks) == len(READ_TYPES) + 4
    assert all(marks.values())
    assert {n for n, m in marks.items() if m.kind == "public"} == {"fhir.metadata", "fhir.unknown"}


def test_a_route_without_a_mark_is_closed():
    app = Flask(__name__)
    blueprint = create_fhir_blueprint(
        reports=MemorySource([]), authenticate=CLIENTS.get, base_url=BASE, audit=Journal()
    )
    blueprint.add_url_rule("/forgotten", view_func=lambda: "open", endpoint="forgotten")
    app.register_blueprint(blueprint)
    refused(ask(app.test_client(), "forgotten"), 403, "forbidden")


# What is not there.


@pytest.mark.parametrize(
    "path",
    [
        "DiagnosticReport/none",
        "Observation/case-1",
        "Observation/case-1-heatmap",
        "Device/none",
        "DiagnosticReport/_search",
        "Patient",
        "Basic/1",
        "DiagnosticReport/case-1/_history",
        "",
        "nothing/at/all",
    ],
)
def test_what_is_not_there_is_an_operation_outcome(http, path):
    refused(ask(http, path), 404, "not-found")


@pytest.mark.parametrize(
    "path",
    [
        "DiagnosticReport/case-open",
        "Observation/case-open-ai",
        "Observation/case-open-finding",
        "DocumentReference/case-open-report",
        "Binary/case-open-report",
        "Provenance/case-open-provenance",
    ],
)
def test_an_unsigned_case_is_not_there(http, path):
    refused(ask(http, path), 404, "not-found")


def test_a_patient_whose_case_nobody_has_signed_is_not_there():
    http = make_client([r for r in some_reports() if r.case.id == "case-open"])
    for path in ("Patient/patient-1", "Media/photo-1", "Binary/photo-1", f"Device/{FINGERPRINT}"):
        refused(ask(http, path), 404, "not-found")
    assert body(ask(http, "DiagnosticReport"))["total"] == 0


def test_without_ai_there_is_no_ai_observation(http):
    assert ask(http, "DiagnosticReport/case-ben").status_code == 200
    refused(ask(http, "Observation/case-ben-ai"), 404, "not-found")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_written(http, method):
    answer = getattr(http, method)(
        "/fhir/R4/DiagnosticReport/case-1", headers={"Authorization": "Bearer alices-token"}
    )
    refused(answer, 405, "not-supported")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["metadata", "DiagnosticReport", "DiagnosticReport/case-1"])
def test_xml_is_not_offered(http, path):
    refused(ask(http, path, Accept="application/fhir+xml"), 406, "not-supported")
    refused(ask(http, f"{path}?_format=xml"), 406, "not-supported")
    for accept in ("application/json", "*/*", "application/fhir+json, */*; q=0.1"):
        assert ask(http, path, Accept=accept).status_code == 200
    assert ask(http, f"{path}?_format=json", Accept="text/html").status_code == 200


# Searching.


def test_a_search_by_patient_finds_all_of_hers_and_no_more(http):
    bundle = body(ask(http, "DiagnosticReport?patient=patient-1"))
    assert bundle["type"] == "searchset"
    assert bundle["total"] == 5
    assert ids(bundle) == [f"DiagnosticReport/case-{n}" for n in (5, 4, 3, 2, 1)]
    for entry in bundle["entry"]:
        assert entry["fullUrl"] == f"{BASE}/DiagnosticReport/{entry['resource']['id']}"
        assert entry["resource"]["subject"] == {"reference": "Patient/patient-1"}
    assert bundle["link"] == [
        {"relation": "self", "url": f"{BASE}/DiagnosticReport?patient=patient-1"}
    ]
    same = body(ask(http, "DiagnosticReport?patient=Patient/patient-1"))
    assert same["total"] == bundle["total"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("patient=nobody", []),
        ("patient.identifier=P-2002", ["case-ben"]),
        ("patient.identifier=https://dermqueue.org/fhir/sid/patient|P-2002", ["case-ben"]),
        ("patient.identifier=urn:x|P-2002", []),
        ("identifier=case-3", ["case-3"]),
        ("_id=case-3,case-1", ["case-3", "case-1"]),
        ("_id=case-far", []),
        ("_id=case-open", []),
        ("status=amended", ["case-2"]),
        ("status=preliminary", []),
        ("patient=patient-1&status=final&date=ge2026-11-24", ["case-5", "case-4"]),
        ("date=2026-11-21", ["case-1"]),
        ("issued=2026-11-22T14:00:05Z", ["case-1"]),
        ("patient=patient-1&category=LP29684-5&_count=1", ["case-5"]),
        ("category=http://loinc.org|LP29708-2", []),
    ],
)
def test_every_hit_matches_its_parameters(http, parameters, found):
    bundle = body(ask(http, f"DiagnosticReport?{parameters}"))
    assert ids(bundle) == [f"DiagnosticReport/{case_id}" for case_id in found]


def test_pages_lead_to_each_other_and_lose_nothing(http):
    path, seen, pages = "DiagnosticReport?patient=patient-1&_count=2&status=final,amended", [], 0
    while path:
        bundle = body(ask(http, path))
        pages += 1
        assert bundle["total"] == 5
        seen += ids(bundle)
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        assert links["self"].startswith(f"{BASE}/DiagnosticReport?")
        assert all("patient=patient-1" in u and "_count=2" in u for u in links.values())
        assert all(u.count("_page=") <= 1 for u in links.values())
        path = links.get("next", "").removeprefix(f"{BASE}/")
    assert pages == 3
    assert seen == [f"DiagnosticReport/case-{n}" for n in (5, 4, 3, 2, 1)]


def test_reports_signed_in_the_same_second_are_all_paged():
    reports = [
        make_report(case=replace(make_report().case, id=f"case-{n}"), photos=()) for n in range(7)
    ]
    http = make_client(reports)
    path, seen = "DiagnosticReport?_count=3", []
    while path:
        bundle = body(ask(http, path))
        seen += ids(bundle)
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        path = links.get("next", "").removeprefix(f"{BASE}/")
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize("parameters", ["_count=0&_totalMethod=count", "_summary=count"])
def test_a_count_of_zero_gives_the_total_alone(http, parameters):
    bundle = body(ask(http, f"DiagnosticReport?patient=patient-1&{parameters}"))
    assert bundle["total"] == 5
    assert "entry" not in bundle


def test_many_matches_are_counted_only_for_who_asks():
    http = make_client(some_reports(), counted=2)
    assert "total" not in body(ask(http, "DiagnosticReport?patient=patient-1"))
    assert "total" not in body(ask(http, "DiagnosticReport?patient=patient-1&_total=estimate"))
    assert body(ask(http, "DiagnosticReport?patient=patient-1&_total=accurate"))["total"] == 5
    assert body(ask(http, "DiagnosticReport?patient=patient-1&_summary=count"))["total"] == 5
    assert body(ask(http, "DiagnosticReport?patient=patient-2"))["total"] == 1
    refused(ask(http, "DiagnosticReport?_total=all"), 400, "invalid")


def test_a_search_by_date_is_paged_by_when_the_photos_were_sent():
    case = make_report().case
    reports = [
        make_report(
            case=replace(case, id=f"case-{n}", submitted_at=case.submitted_at - timedelta(hours=n)),
            signed_at=SIGNED + timedelta(hours=n % 3),
            photos=(),
        )
        for n in range(7)
    ]
    path, seen = "DiagnosticReport?date=ge2026-01-01&_count=3", []
    while path:
        bundle = body(ask(make_client(reports), path))
        seen += ids(bundle)
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        path = links.get("next", "").removeprefix(f"{BASE}/")
    assert seen == [f"DiagnosticReport/case-{n}" for n in range(7)]


def test_includes_come_once_and_do_not_count(http):
    bundle = body(
        ask(
            http,
            "DiagnosticReport?patient=patient-1&_count=2"
            "&_include=DiagnosticReport:subject&_include=DiagnosticReport:performer"
            "&_include=DiagnosticReport:result&_include=DiagnosticReport:media"
            "&_revinclude=Provenance:target&_revinclude=DocumentReference:related",
        )
    )
    assert bundle["total"] == 5
    assert len(ids(bundle)) == 2
    assert sorted(ids(bundle, "include")) == sorted(
        [
            "Organization/clinic-1",
            "Practitioner/doctor-1",
            "Patient/patient-1",
            *(f"Media/photo-{p}-{n}" for p in (1, 2) for n in (4, 5)),
            *(f"Observation/case-{n}-{k}" for k in ("ai", "finding") for n in (4, 5)),
            *(f"Provenance/case-{n}-provenance" for n in (4, 5)),
            *(f"DocumentReference/case-{n}-report" for n in (4, 5)),
        ]
    )
    assert len({e["fullUrl"] for e in bundle["entry"]}) == len(bundle["entry"])


def test_a_search_by_post_finds_the_same(http):
    headers = {"Authorization": "Bearer alices-token"}
    posted = http.post(
        "/fhir/R4/DiagnosticReport/_search",
        data={"patient": "Patient/patient-1", "_count": "3"},
        headers=headers,
    )
    assert posted.status_code == 200
    fetched = body(ask(http, "DiagnosticReport?patient=Patient/patient-1&_count=3"))
    assert body(posted) == fetched


def test_a_search_whose_body_would_be_overlooked_is_refused(http):
    answer = http.post(
        "/fhir/R4/DiagnosticReport/_search",
        json={"patient": "patient-2"},
        headers={"Authorization": "Bearer alices-token"},
    )
    refused(answer, 415, "not-supported")


def test_an_unknown_parameter_counts_only_for_the_strict(http):
    lenient = body(ask(http, "DiagnosticReport?colour=red&patient=patient-1"))
    assert lenient["total"] == 5
    assert "colour" not in lenient["link"][0]["url"]
    issue = refused(
        ask(http, "DiagnosticReport?colour=red", Prefer="handling=strict"), 400, "invalid"
    )
    assert issue["expression"] == ["http.colour"]


@pytest.mark.parametrize(
    "parameter",
    [
        "date=2026-02-30",
        "_count=x",
        "status=signed",
        "patient=",
        "patient:missing=true",
        "_page=guess",
        "patient=a,b",
    ],
)
def test_a_bad_parameter_is_refused_with_its_name(http, parameter):
    issue = refused(ask(http, f"DiagnosticReport?{parameter}"), 400, "invalid")
    assert issue["expression"] == [f"http.{parameter.partition('=')[0]}"]


# The audit log.


def test_each_access_is_recorded_with_what_it_disclosed(http, journal):
    ask(http, "DiagnosticReport/case-1")
    ask(http, "DiagnosticReport?patient=patient-1&_count=2")
    read, search = journal
    assert (read.client.id, read.interaction, read.status) == ("alice", "read", 200)
    assert (read.resource_type, read.resource_id) == ("DiagnosticReport", "case-1")
    assert read.case_ids == ("case-1",)
    assert (search.interaction, search.resource_type) == ("search-type", "DiagnosticReport")
    assert search.query == "patient=patient-1&_count=2"
    assert search.case_ids == ("case-5", "case-4")


@pytest.mark.parametrize(
    ("path", "token", "status", "who"),
    [
        ("DiagnosticReport/case-1", None, 401, None),
        ("DiagnosticReport/case-1", "guess", 401, None),
        ("DiagnosticReport/case-1", "patients-only", 403, "pat"),
        ("Binary/photo-1", "alices-token", 403, "alice"),
        ("DiagnosticReport/none", "alices-token", 404, "alice"),
    ],
)
def test_a_refusal_is_recorded_too(http, journal, path, token, status, who):
    assert ask(http, path, token=token).status_code == status
    (entry,) = journal
    assert entry.status == status
    assert (entry.client.id if entry.client else None) == who
    assert entry.case_ids == ()
    assert "guess" not in repr(entry)


def test_a_token_put_into_the_address_by_mistake_is_not_kept(http, journal):
    ask(http, "DiagnosticReport?access_token=alices-token&status=final")
    (entry,) = journal
    assert entry.query == "status=final"


def test_what_anybody_may_ask_is_not_recorded(http, journal):
    ask(http, "metadata", token=None)
    ask(http, "nothing", token=None)
    assert journal == []


def test_nothing_is_sent_that_could_not_be_recorded():
    def broken(_access):
        raise OSError("the log is full")

    http = make_client(some_reports(), audit=broken)
    http.application.config["PROPAGATE_EXCEPTIONS"] = False
    for path in ("DiagnosticReport/case-1", "DiagnosticReport?patient=patient-1"):
        answer = ask(http, path)
        issue = refused(answer, 500, "exception")
        assert issue["diagnostics"] == "The server failed; nothing was sent."
        assert b"log is full" not in answer.data
        assert b"Meier" not in answer.data


def test_an_unsound_resource_is_not_sent():
    crooked = make_report(practitioner=replace(make_report().practitioner, id="no/id"))
    http = make_client([crooked])
    http.application.config["PROPAGATE_EXCEPTIONS"] = False
    refused(ask(http, "DiagnosticReport/case-1"), 500, "exception")
    refused(ask(http, "DiagnosticReport"), 500, "exception")


GONE = [
    ("clinic-1", Withdrawal("case-gone", SIGNED + timedelta(days=2, hours=1))),
    ("clinic-2", Withdrawal("case-of-others", SIGNED + timedelta(days=9))),
]


def changes(bundle):
    """What each entry tells, as method and address."""
    return [(e["request"]["method"], e["request"]["url"]) for e in bundle.get("entry", [])]


def test_the_history_tells_what_was_signed_and_what_was_withdrawn_newest_first(journal):
    http = make_client(some_reports(), gone=GONE, audit=journal)

    bundle = body(ask(http, "DiagnosticReport/_history"))

    assert bundle["type"] == "history"
    assert [e["fullUrl"].rpartition("/")[2] for e in bundle["entry"]] == [
        *("case-5", "case-4", "case-3", "case-gone", "case-2", "case-1", "case-ben"),
    ]
    assert changes(bundle)[3:6] == [
        ("DELETE", "DiagnosticReport/case-gone"),
        ("PUT", "DiagnosticReport/case-2"),  # it was amended
        ("POST", "DiagnosticReport"),
    ]
    (gone,) = (e for e in bundle["entry"] if "resource" not in e)
    assert gone["response"]["lastModified"] == "2026-11-23T15:00:05Z"
    (access,) = journal
    assert access.interaction == "history-type"
    assert "case-gone" not in access.case_ids


def test_a_history_since_a_moment_holds_what_came_after_it():
    http = make_client(some_reports(), gone=GONE)

    bundle = body(ask(http, "DiagnosticReport/_history?_since=2026-11-23T15:00:00Z"))

    assert changes(bundle) == [
        *[("POST", "DiagnosticReport")] * 3,
        ("DELETE", "DiagnosticReport/case-gone"),
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_the_pages_of_a_history_hold_each_change_once(count):
    http = make_client(some_reports(), gone=GONE)
    address, found = f"DiagnosticReport/_history?_count={count}", []
    while address:
        bundle = body(ask(http, address))
        assert len(bundle.get("entry", [])) <= count
        found += [e["fullUrl"].rpartition("/")[2] for e in bundle.get("entry", [])]
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        address = links.get("next", "").removeprefix(f"{BASE}/")

    assert found == ["case-5", "case-4", "case-3", "case-gone", "case-2", "case-1", "case-ben"]


@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_count=x", "_page=nowhere", "_since=ge2026"]
)
def test_a_history_says_which_parameter_is_wrong(http, query):
    name = query.partition("=")[0]
    answer = ask(http, f"DiagnosticReport/_history?{query}")
    assert name in refused(answer, 400, "invalid")["diagnostics"]


def test_a_history_needs_the_scope_to_search(http):
    answer = ask(http, "DiagnosticReport/_history", token="patients-only")
    refused(answer, 403, "forbidden")
