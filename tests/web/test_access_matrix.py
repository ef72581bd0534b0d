"""Every route, every kind of person, own and foreign objects: one table says what is answered."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.fhir_capability import READ_TYPES
from clinic.fhir_search import INCLUDES, REVERSE_INCLUDES
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, ehr_clients, erasure_requests, passkeys
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, EhrClient, Patient
from clinic.records.passkeys import NewPasskey
from clinic.submission import CaseState
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    ask_for_pictures,
    change_row,
    entries,
    half_signed_in,
    object_of,
    token_of,
    viewer_key,
)
from tests.world import World
from web.rate_limits import limiter

PEOPLE = ("nobody", "alice", "carol", "bob", "dan", "erin", "frank", "half")

# Alice owns every case below; Carol is a patient too, but a stranger to them. Bob reads the cases
# that are claimed; Dan is of the same clinic and claimed nothing; Frank is of another clinic.
# "half" is Dan in a browser that proved the password alone: 302 leads to the second factor.
# For nobody 302 leads to the sign-in page.
#
#   method path                        nobody alice carol bob  dan  erin frank half
TABLE = """
    GET    /                            200 200 200 200 200 200 200 200
    GET    /help                        200 200 200 200 200 200 200 200
    GET    /privacy                     200 200 200 200 200 200 200 200
    GET    /ai-label                    200 200 200 200 200 200 200 200
    GET    /healthz                     200 200 200 200 200 200 200 200
    GET    /readyz                      503 503 503 503 503 503 503 503
    GET    /metrics                     404 404 404 404 404 404 404 404
    GET    /invariants                  404 404 404 404 404 404 404 404
    GET    /root-key.js                 200 200 200 200 200 200 200 200
    GET    /static/js/viewer.js         200 200 200 200 200 200 200 200
    POST   /csp-reports                 415 415 415 415 415 415 415 415
    GET    /register                    200 200 200 200 200 200 200 200
    POST   /register                    422 422 422 422 422 422 422 422
    GET    /register/some-token         404 404 404 404 404 404 404 404
    POST   /register/some-token         404 404 404 404 404 404 404 404
    GET    /password/forgotten          200 200 200 200 200 200 200 200
    POST   /password/forgotten          200 200 200 200 200 200 200 200
    GET    /password/new/some-token     404 404 404 404 404 404 404 404
    POST   /password/new/some-token     404 404 404 404 404 404 404 404
    GET    /join/some-token             404 404 404 404 404 404 404 404
    POST   /join/some-token             404 404 404 404 404 404 404 404
    GET    /sign-in                     200 200 200 200 200 200 200 200
    POST   /sign-in                     422 422 422 422 422 422 422 422
    POST   /sign-in/passkey/options     200 200 200 200 200 200 200 200
    POST   /sign-in/passkey             422 422 422 422 422 422 422 422
    GET    /sign-in-link/some-token     404 404 404 404 404 404 404 404
    POST   /sign-in-link/some-token     404 404 404 404 404 404 404 404
    GET    /second-factor               302 302 302 200 200 200 200 200
    POST   /second-factor               302 302 302 422 422 422 422 422
    GET    /second-factor/recovery      302 200 200 200 200 200 200 200
    POST   /second-factor/recovery      302 422 422 422 422 422 422 422
    GET    /second-factor/new           302 200 200 200 200 200 200 302
    POST   /second-factor/new           302 422 422 422 422 422 422 302
    POST   /second-factor/remove        302 404 404 409 409 409 409 302
    GET    /passkeys/new                302 200 200 200 200 200 200 302
    POST   /passkeys/new                302 422 422 422 422 422 422 302
    POST   /passkeys/options/new        302 200 200 200 200 200 200 302
    POST   /passkeys/options/use        302 200 200 200 200 200 200 200
    POST   /passkeys/{dans_key}/name    302 403 403 403 422 403 403 302
    POST   /passkeys/{dans_key}/remove  302 403 403 403 302 403 403 302
    POST   /recovery-codes              302 409 409 200 200 200 200 302
    GET    /step-up                     302 200 200 200 200 200 200 302
    POST   /step-up                     302 422 422 422 422 422 422 302
    GET    /account                     302 200 200 200 200 200 200 302
    GET    /account/password            302 200 200 200 200 200 200 302
    POST   /account/password            302 422 422 422 422 422 422 302
    GET    /account/email               302 200 200 200 200 200 200 302
    POST   /account/email               302 200 200 200 200 200 200 302
    GET    /account/email/some-token    404 404 404 404 404 404 404 404
    POST   /account/email/some-token    404 404 404 404 404 404 404 404
    POST   /account/consents            302 302 302 403 403 403 403 403
    POST   /account/care                302 400 400 403 403 403 403 403
    POST   /account/sessions/{bobs}/end 302 404 404 302 404 404 404 302
    GET    /cases                       302 200 200 403 403 403 403 403
    GET    /cases/new                   302 200 200 403 403 403 403 403
    POST   /cases/new                   302 422 422 403 403 403 403 403
    GET    /cases/{unknown}             302 404 404 403 403 403 403 403
    GET    /cases/{fresh}               302 200 403 403 403 403 403 403
    GET    /cases/{claimed}             302 200 403 403 403 403 403 403
    GET    /cases/{read}                302 200 403 403 403 403 403 403
    GET    /cases/{signed}              302 200 403 403 403 403 403 403
    GET    /cases/{retake}              302 200 403 403 403 403 403 403
    POST   /cases/{unknown}/photos      302 404 404 403 403 403 403 403
    POST   /cases/{fresh}/photos        302 302 403 403 403 403 403 403
    POST   /cases/{retake}/photos       302 302 403 403 403 403 403 403
    POST   /cases/{signed}/photos       302 403 403 403 403 403 403 403
    POST   /cases/{unknown}/grants      302 404 404 404 404 403 404 302
    POST   /cases/{fresh}/grants        302 202 403 403 403 403 403 302
    POST   /cases/{claimed}/grants      302 202 403 202 403 403 403 302
    POST   /cases/{read}/grants         302 202 403 202 403 403 403 302
    POST   /cases/{signed}/grants       302 202 403 202 403 403 403 302
    GET    /grants/{unknown}            302 404 404 404 404 403 404 302
    GET    /grants/{alices_grant}       302 200 404 404 404 403 404 302
    GET    /grants/{bobs_grant}         302 404 404 200 404 403 404 302
    GET    /objects/{unknown}           302 404 404 404 404 403 404 302
    GET    /objects/{photo_fresh}       302 200 403 403 403 403 403 302
    GET    /objects/{photo_claimed}     302 200 403 200 403 403 403 302
    GET    /objects/{photo_signed}      302 200 403 200 403 403 403 302
    GET    /objects/{map_fresh}         302 403 403 403 403 403 403 302
    GET    /objects/{map_claimed}       302 403 403 403 403 403 403 302
    GET    /objects/{map_read}          302 403 403 200 403 403 403 302
    GET    /objects/{map_signed}        302 403 403 200 403 403 403 302
    GET    /objects/{history_read}      302 404 404 404 404 403 404 302
    GET    /objects/{letter_signed}     302 404 404 404 404 403 404 302
    GET    /my-record/access            302 200 200 403 403 403 403 403
    GET    /my-record                   302 200 200 403 403 403 403 403
    GET    /my-record/download          302 200 200 403 403 403 403 403
    GET    /my-record/archive.zip       302 200 200 403 403 403 403 403
    GET    /my-record/archive.json      302 200 200 403 403 403 403 403
    GET    /my-record/erasure           302 200 200 403 403 403 403 403
    POST   /my-record/erasure           302 422 422 403 403 403 403 403
    POST   /my-record/erasure/withdraw  302 409 404 403 403 403 403 403
    GET    /erasure/some-token          404 404 404 404 404 404 404 404
    POST   /erasure/some-token          404 404 404 404 404 404 404 404
    GET    /erasure-requests            302 403 403 403 403 200 403 403
    POST   /erasure-requests/{unknown}/grant       302 403 403 403 403 404 403 403
    POST   /erasure-requests/{alices_wish}/grant   302 403 403 403 403 409 403 403
    POST   /erasure-requests/{unknown}/refuse      302 403 403 403 403 404 403 403
    POST   /erasure-requests/{alices_wish}/refuse  302 403 403 403 403 422 403 403
    GET    /operations                  302 403 403 403 403 200 403 403
    GET    /operations/live             302 403 403 403 403 200 403 403
    POST   /operations/dead/{unknown}/retry 302 403 403 403 403 404 403 403
    POST   /operations/dead/{fresh}/retry   302 403 403 403 403 409 403 403
    POST   /operations/dead/{claimed}/retry 302 403 403 403 403 403 403 403
    POST   /operations/dead/{signed}/retry  302 403 403 403 403 403 403 403
    GET    /audit                       302 403 403 403 403 200 403 403
    GET    /people                      302 403 403 403 403 200 403 403
    POST   /people/invite               302 403 403 403 403 422 403 403
    POST   /people/find                 302 403 403 403 403 422 403 403
    POST   /people/invitations/{unknown}/withdraw 302 403 403 403 403 404 403 403
    GET    /people/{unknown}            302 403 403 403 403 404 403 403
    GET    /people/{gina}               302 403 403 403 403 200 403 403
    GET    /people/{franks}             302 403 403 403 403 404 403 403
    POST   /people/{gina}/sign-out      302 403 403 403 403 302 403 403
    POST   /people/{gina}/role          302 403 403 403 403 422 403 403
    POST   /people/{gina}/second-factor/reset 302 403 403 403 403 302 403 403
    POST   /people/{gina}/disable       302 403 403 403 403 302 403 403
    POST   /people/{gina}/enable        302 403 403 403 403 302 403 403
    POST   /people/{franks}/disable     302 403 403 403 403 404 403 403
    GET    /audit.csv                   302 403 403 403 403 200 403 403
    GET    /review                      302 403 403 200 200 403 200 302
    GET    /review/{unknown}            302 403 403 404 404 403 404 302
    GET    /review/{fresh}              302 403 403 200 200 403 403 302
    GET    /review/{claimed}            302 403 403 200 200 403 403 302
    GET    /review/{read}               302 403 403 200 200 403 403 302
    GET    /review/{signed}             302 403 403 200 403 403 403 302
    POST   /review/{claimable}/claim    302 403 403 302 302 403 403 302
    POST   /review/{claimed}/claim      302 403 403 302 409 403 403 302
    POST   /review/{signed}/claim       302 403 403 409 409 403 403 302
    POST   /review/{fresh}/first-read   302 403 403 403 403 403 403 302
    POST   /review/{claimed}/first-read 302 403 403 422 403 403 403 302
    POST   /review/{fresh}/sign         302 403 403 403 403 403 403 302
    POST   /review/{claimed}/sign       302 403 403 403 403 403 403 302
    POST   /review/{read}/sign          302 403 403 422 403 403 403 302
    POST   /review/{signed}/sign        302 403 403 403 403 403 403 302
    POST   /review/{fresh}/retake       302 403 403 403 403 403 403 302
    POST   /review/{read}/retake        302 403 403 422 403 403 403 302
    POST   /review/{fresh}/release      302 403 403 403 403 403 403 302
    POST   /review/{read}/release       302 403 403 302 403 403 403 302
    POST   /review/next                 302 403 403 302 302 403 302 302
    POST   /account/sessions/end-others 302 302 302 302 302 302 302 302
    POST   /sign-out                    302 302 302 302 302 302 302 302
"""

# A registered record system: without a token, of this clinic, of another clinic, with a revoked
# token, with this clinic's token in a signed-in browser's place (a portal cookie is no token).
EHR_CLIENTS = ("no token", "own", "other clinic", "revoked", "cookie")
FHIR_TABLE = """
    GET    /fhir/R4/metadata                                200 200 200 200 200
    GET    /fhir/R4/                                        404 404 404 404 404
    POST   /fhir/R4/                                        404 404 404 404 404
    GET    /fhir/R4/Nothing/here                            404 404 404 404 404
    POST   /fhir/R4/Patient/{patient}                       405 405 405 405 405
    GET    /fhir/R4/DiagnosticReport                        401 200 200 401 401
    POST   /fhir/R4/DiagnosticReport/_search                401 200 200 401 401
    GET    /fhir/R4/DiagnosticReport/{DiagnosticReport}     401 200 404 401 401
    GET    /fhir/R4/DiagnosticReport/{unsigned}             401 404 404 401 401
    GET    /fhir/R4/Binary/{Binary}                         401 200 404 401 401
    GET    /fhir/R4/Binary/{photo}                          401 403 404 401 401
    GET    /fhir/R4/Device/{Device}                         401 200 404 401 401
    GET    /fhir/R4/DocumentReference/{DocumentReference}   401 200 404 401 401
    GET    /fhir/R4/Media/{Media}                           401 200 404 401 401
    GET    /fhir/R4/Observation/{Observation}               401 200 404 401 401
    GET    /fhir/R4/Organization/{Organization}             401 200 404 401 401
    GET    /fhir/R4/Patient/{Patient}                       401 200 404 401 401
    GET    /fhir/R4/Patient/{unsigned_patient}              401 404 404 401 401
    GET    /fhir/R4/Practitioner/{Practitioner}             401 200 404 401 401
    GET    /fhir/R4/Provenance/{Provenance}                 401 200 404 401 401
"""

Row = tuple[str, str, dict[str, int]]


def read_table(text: str, columns: tuple[str, ...]) -> Iterator[Row]:
    for line in text.strip().splitlines():
        method, path, *codes = line.split()
        yield method, path, dict(zip(columns, map(int, codes), strict=True))


@dataclass
class Stage:
    """The cases and objects that the table's paths name."""

    app: Flask
    world: World
    browsers: dict[str, FlaskClient] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, app: Flask, world: World) -> "Stage":
        stage = cls(app, world)
        stage._people()
        stage._cases()
        stage._grants()
        stage._withdrawn_wish()
        return stage

    def _people(self) -> None:
        self.browsers["nobody"] = self.app.test_client()
        self.browsers["half"] = half_signed_in(self.app, self.world, self.world.dan)
        for name in PEOPLE[1:-1]:
            session = BrowserSession.of(self.app, self.world, self.world.people[name])
            self.browsers[name] = session.client
        self.tokens = {
            name: token_of(client, "/second-factor" if name == "half" else "/register")
            for name, client in self.browsers.items()
        }

    def _cases(self) -> None:
        world = self.world
        alice, bob = world.alice, world.bob
        self.ids |= {
            "unknown": new_id(),
            "fresh": world.screened(alice),
            "claimed": world.claimed(alice, bob),
            "read": world.first_read(alice, bob),
            "signed": world.signed(alice, bob),
            "retake": world.screened(alice),
            "gina": world.add_person("gina", Role.ADMINISTRATOR).account_id,
            "franks": world.frank.account_id,
        }
        change_row(
            world, self.ids["retake"], case_state=CaseState.UNREADABLE, retake_reason="Not sharp."
        )
        self.ids["letter_signed"] = object_of(world, self.ids["signed"], ObjectKind.LETTER)
        self.ids["history_read"] = object_of(world, self.ids["read"], ObjectKind.HISTORY)
        for name in ("fresh", "claimed", "read", "signed"):
            case = self.ids[name]
            self.ids[f"photo_{name}"] = object_of(world, case, ObjectKind.RENDITION)
            self.ids[f"map_{name}"] = object_of(world, case, ObjectKind.HEATMAP)

    def _grants(self) -> None:
        for name in ("alice", "bob"):
            browser = self.browsers[name]
            answer = ask_for_pictures(browser, self.tokens[name], self.ids["claimed"])
            self.ids[f"{name}s_grant"] = answer.json["grant"]

    def _withdrawn_wish(self) -> None:
        """Alice asked to be erased and thought better of it."""
        with self.world.sessions() as session, session.begin():
            alice = session.get_one(Patient, self.world.alice.patient_id)
            self.ids["alices_wish"] = erasure_requests.ask(session, alice).request_id
            erasure_requests.withdraw(session, self.ids["alices_wish"])

    def answer(self, name: str, method: str, template: str) -> TestResponse:
        """Ask once; what a person would use up is made anew."""
        ids = dict(self.ids)
        if "{claimable}" in template:
            ids["claimable"] = self.world.screened(self.world.alice)
        if "{bobs}" in template:
            ids["bobs"] = self._another_session_of_bob()
        if "{dans_key}" in template:
            ids["dans_key"] = self._another_passkey_of_dan()
        path = template.format(**ids)
        browser, token = self.browsers[name], self.tokens[name]
        if template.endswith("/grants") and method == "POST":
            return browser.post(path, json=viewer_key()[1], headers={"X-CSRFToken": token})
        return browser.open(path, method=method, data=_form(method, token), buffered=True)

    def _another_session_of_bob(self) -> str:
        with self.world.sessions() as session, session.begin():
            account = session.get_one(Account, self.world.bob.account_id)
            token = accounts.start_login(session, account, second_factor=True)
            login = accounts.live_login(session, token)
            assert login is not None
            return login.id

    def _another_passkey_of_dan(self) -> str:
        name = self.world.secrets.seal(
            "key", account_id=self.world.dan.account_id, column="passkey name"
        )
        new = NewPasskey(secrets.token_bytes(16), b"a public key", 0, name)
        with self.world.sessions() as session, session.begin():
            account = session.get_one(Account, self.world.dan.account_id)
            return passkeys.add(session, account, new).id


def _form(method: str, token: str) -> dict[str, str]:
    return {"csrf_token": token} if method == "POST" else {}


@pytest.fixture
def stage(app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Everybody asks for everything from one address: that would be too often."""
    monkeypatch.setattr(limiter, "enabled", False)
    return Stage.of(app, world)


def test_every_route_answers_every_person_as_the_table_says(stage: Stage) -> None:
    wrong = []
    for method, path, expected in read_table(TABLE, PEOPLE):
        for name, code in expected.items():
            before = _denials(stage.world)
            answer = stage.answer(name, method, path)
            denied = _denials(stage.world) - before
            found = _as_in_table(answer)
            if found != code:
                wrong.append(f"{method} {path}: {name} got {found}, not {code}")
            if denied != (1 if code == 403 else 0):
                wrong.append(f"{method} {path}: {name}'s {found} left {denied} denials")

    assert wrong == []


def _denials(world: World) -> int:
    return len(entries(world, AuditAction.ACCESS_DENIED))


def _as_in_table(answer: TestResponse) -> int:
    return 302 if answer.status_code == 303 else answer.status_code


@pytest.mark.parametrize(("name", "target"), [("nobody", "/sign-in"), ("half", "/second-factor")])
def test_who_is_not_signed_in_is_led_to_the_missing_step(
    stage: Stage, name: str, target: str
) -> None:
    elsewhere = []
    for method, path, expected in read_table(TABLE, PEOPLE):
        led_on = expected[name] == 302 and path not in {"/sign-out", "/second-factor/new"}
        if led_on and not stage.answer(name, method, path).location.startswith(target):
            elsewhere.append(path)

    assert elsewhere == []


def test_a_script_that_is_not_signed_in_is_told_so_in_json(stage: Stage) -> None:
    for method, path, expected in read_table(TABLE, PEOPLE):
        if expected["nobody"] == 302:
            answer = stage.browsers["nobody"].open(
                path.format_map(_AnyId()),
                method=method,
                data=_form(method, stage.tokens["nobody"]),
                headers={"Accept": "application/json"},
            )
            assert (answer.status_code, answer.json) == (401, {"error": "sign in again"}), path


class _AnyId(dict[str, str]):
    def __missing__(self, _key: str) -> str:
        return "0" * 32


def test_no_route_is_missing_in_the_tables(stage: Stage) -> None:
    adapter = stage.app.url_map.bind("localhost")
    listed = set()
    for text, columns in ((TABLE, PEOPLE), (FHIR_TABLE, EHR_CLIENTS)):
        for method, path, _ in read_table(text, columns):
            rule, _ = adapter.match(path.format_map(_AnyId()), method=method, return_rule=True)
            listed.add((rule.rule, method))
    served = {
        (rule.rule, method)
        for rule in stage.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in {"GET", "POST"}
    }

    assert served - listed == set()


def test_no_portal_route_takes_other_methods_than_get_and_post(app: Flask) -> None:
    known = {"GET", "HEAD", "OPTIONS", "POST"}
    odd = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if not (rule.methods or set()) <= known and not rule.rule.startswith("/fhir/")
    }

    assert odd == set()


def test_a_route_without_a_permission_mark_is_closed(app: Flask) -> None:
    app.add_url_rule("/forgotten", view_func=lambda: "open to all")

    assert app.test_client().get("/forgotten").status_code == 403


@dataclass
class EhrStage:
    stage: Stage
    headers: dict[str, dict[str, str]]
    ids: dict[str, str]

    def answer(self, name: str, method: str, template: str) -> TestResponse:
        client = self.stage.browsers["bob"] if name == "cookie" else self.stage.app.test_client()
        kind = {"content_type": "application/x-www-form-urlencoded"} if method == "POST" else {}
        path = template.format(**self.ids)
        return client.open(path, method=method, headers=self.headers[name], **kind)


@pytest.fixture
def ehr_stage(stage: Stage) -> EhrStage:
    world = stage.world
    with world.sessions() as session, session.begin():
        own, other, revoked = (
            ehr_clients.register(session, clinic_id=clinic_id, name="A record system")
            for clinic_id in (world.clinic_id, world.other_clinic_id, world.clinic_id)
        )
        session.get_one(EhrClient, revoked.client_id).revoked_at = database_now(session)
    bearers = {"own": own, "other clinic": other, "revoked": revoked}
    headers: dict[str, dict[str, str]] = {"no token": {}, "cookie": {}}
    headers |= {name: {"Authorization": f"Bearer {one.token}"} for name, one in bearers.items()}
    ids = {
        "patient": world.alice.patient_id or "",
        "unsigned": stage.ids["fresh"],
        "unsigned_patient": world.carol.patient_id or "",
        "photo": object_of(world, stage.ids["signed"], ObjectKind.PHOTO),
    }
    return EhrStage(stage, headers, ids | _resource_ids(stage.app, headers["own"]))


def _resource_ids(app: Flask, headers: dict[str, str]) -> dict[str, str]:
    """One id of each type that the signed report brings along or points at."""
    asked = [("_include", name) for name in INCLUDES]
    asked += [("_revinclude", name) for name in REVERSE_INCLUDES]
    path = f"/fhir/R4/DiagnosticReport?{urlencode(asked)}"
    found = app.test_client().get(path, headers=headers).json
    resources = [entry["resource"] for entry in found["entry"]]
    ids = {one["resourceType"]: one["id"] for one in resources}
    for pointed in ("Device", "Binary"):
        ids[pointed] = re.findall(rf"{pointed}/([\w.-]+)", json.dumps(resources))[0]
    return ids


def test_every_fhir_route_answers_every_client_as_the_table_says(ehr_stage: EhrStage) -> None:
    assert READ_TYPES.keys() <= ehr_stage.ids.keys()
    wrong = [
        f"{method} {path}: {name} got {answer.status_code}, not {code}: {answer.text[:200]}"
        for method, path, expected in read_table(FHIR_TABLE, EHR_CLIENTS)
        for name, code in expected.items()
        if (answer := ehr_stage.answer(name, method, path)).status_code != code
    ]

    assert wrong == []


def test_a_search_of_another_clinic_finds_nothing(ehr_stage: EhrStage) -> None:
    totals = {
        name: ehr_stage.answer(name, "GET", "/fhir/R4/DiagnosticReport").json["total"]
        for name in ("own", "other clinic")
    }

    assert totals == {"own": 1, "other clinic": 0}
