"""Hostile searches, ids and headers at the FHIR API: no failure, always an OperationOutcome."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from clinic.fhir_capability import READ_TYPES
from clinic.fhir_search import INCLUDES, KNOWN_PARAMETERS, REVERSE_INCLUDES
from clinic.records import ehr_clients
from tests.fuzz.conftest import SHARES, Budget
from tests.fuzz.hostile import header_values, texts
from tests.world import World

HEADERS = ("Accept", "Prefer", "If-None-Match", "If-Modified-Since", "Content-Type", "X-Request-ID")
GOOD_VALUES = (
    *("application/fhir+json", "text/html", "*/*;q=0", "handling=strict", "final,amended", "json"),
    *("2026", "ge2026-01-01", "lt2026-01-01T00:00:00Z", "eq2026-11-23T10:00:00+14:00", "0", "100"),
    *("count", "accurate", "Patient/", "|", "a|b", "http://loinc.org|18748-4", 'W/"1"', "*"),
    *(*INCLUDES, *REVERSE_INCLUDES),
)


@dataclass(frozen=True)
class Target:
    client: FlaskClient
    token: str
    ids: tuple[str, ...]


@pytest.fixture
def target(app: Flask, world: World) -> Target:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        made = ehr_clients.register(session, clinic_id=world.clinic_id, name="A record system")
    ids = (case, world.alice.patient_id or "", world.bob.account_id, world.clinic_id)
    return Target(app.test_client(), made.token, ids)


@dataclass(frozen=True)
class Sent:
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    form: bool


@st.composite
def requests(draw: st.DrawFn, target: Target) -> Sent:
    some_text = st.one_of(texts, st.sampled_from([*GOOD_VALUES, *target.ids]))
    names = st.sampled_from([*sorted(KNOWN_PARAMETERS), "_format", "_sort"]) | texts
    suffix = st.sampled_from(["", "", "", ":exact", ".name", ":Patient.identifier"])
    named = st.tuples(names, suffix).map("".join)
    search = draw(st.booleans())
    resource = draw(st.sampled_from(sorted(READ_TYPES)) | texts)
    headers = draw(
        st.dictionaries(
            st.sampled_from(HEADERS), header_values | st.sampled_from(GOOD_VALUES), max_size=3
        )
    )
    with_token = draw(st.integers(0, 9)) > 0
    bearer = f"Bearer {target.token}" if with_token else draw(header_values)
    one = "DiagnosticReport" if search else f"{quote(resource)}/{quote(draw(some_text), safe='%')}"
    return Sent(
        path=f"/fhir/R4/{one}",
        query=draw(st.lists(st.tuples(named, some_text), max_size=4)),
        headers={**headers, "Authorization": bearer},
        form=search and draw(st.booleans()),
    )


def answer_to(client: FlaskClient, sent: Sent) -> TestResponse:
    query = urlencode(sent.query, errors="replace")
    if not sent.form:
        return client.get(f"{sent.path}?{query}", headers=sent.headers, buffered=True)
    headers = {"Content-Type": "application/x-www-form-urlencoded", **sent.headers}
    return client.post(f"{sent.path}/_search", data=query, headers=headers, buffered=True)


def check(answer: TestResponse) -> None:
    assert answer.status_code < 500, f"{answer.status_code} of {answer.request.path!r}"
    if answer.status_code >= 400:
        found: Any = answer.json
        assert answer.mimetype == "application/fhir+json"
        assert found["resourceType"] == "OperationOutcome"
        assert found["issue"][0]["diagnostics"]


@SHARES
def test_no_request_breaks_the_fhir_api(target: Target, budget: Budget, part: float) -> None:
    @budget.settings(part=part)
    @given(st.data())
    def one(data: st.DataObject) -> None:
        budget.tried += 1
        check(answer_to(target.client, data.draw(requests(target))))

    one()
