"""Every route leaves exactly one audit entry for each request of a person, or a reason why none.

The requests are those of the access matrix, so that a new route is asked here too.
"""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from flask import Flask
from sqlalchemy import func, select

from clinic.records.models import AuditEntry
from tests.web.test_access_matrix import (
    EHR_CLIENTS,
    FHIR_TABLE,
    PEOPLE,
    TABLE,
    EhrStage,
    Stage,
    _AnyId,
    ehr_stage,
    read_table,
    stage,
)
from tests.world import World
from web.permission import mark_of

__all__ = ["ehr_stage", "stage"]

SUITABLE = ("alice", "bob", "erin")
NOTHING_PERSONAL = "a page without personal data"
BLANK_FORM = "a form that nobody has filled in"
A_CHALLENGE = "random bytes; the answer to them has its entry"
WITHOUT_ENTRY = {
    "GET /second-factor": BLANK_FORM,
    "POST /second-factor": "leads on: a patient without a second factor owes none",
    "GET /second-factor/recovery": BLANK_FORM,
    "GET /second-factor/new": BLANK_FORM,
    "GET /passkeys/new": BLANK_FORM,
    "POST /passkeys/options/new": A_CHALLENGE,
    "POST /passkeys/options/use": A_CHALLENGE,
    "GET /step-up": BLANK_FORM,
    "GET /account/password": BLANK_FORM,
    "GET /account/email": BLANK_FORM,
    "POST /account/email": "without mail there is nothing to ask for",
    "GET /cases/new": BLANK_FORM,
    "GET /codes": NOTHING_PERSONAL,
    "POST /codes": NOTHING_PERSONAL,
    "GET /my-record": NOTHING_PERSONAL,
    "GET /my-record/download": NOTHING_PERSONAL,
    "GET /grants/<request_id>": "a poll: the request and the keeper's answer have their entries",
    "GET /review/live": "counts alone; the page around it has its entry",
    "POST /review/<case_id>/claim/renew": "nothing is told; the claim itself has its entry",
    "GET /operations/live": "numbers alone; the page around it has its entry",
}


def test_every_request_of_a_person_leaves_one_entry_or_has_a_reason_not_to(stage: Stage) -> None:
    wrong = []
    for method, path, _ in read_table(TABLE, PEOPLE):
        rule = _rule(stage.app, method, path)
        for name in SUITABLE:
            before = _count(stage.world, name)
            status = stage.answer(name, method, path).status_code
            left = _count(stage.world, name) - before
            if left != _expected(stage.app, method, rule, status):
                wrong.append(f"{method} {path}: {name}'s {status} left {left} entries")

    assert wrong == []


def _expected(app: Flask, method: str, rule: str, status: int) -> int:
    if not _is_for_people(app, rule):
        return 0
    refused = status >= HTTPStatus.BAD_REQUEST
    return 1 if refused or f"{method} {rule}" not in WITHOUT_ENTRY else 0


def _is_for_people(app: Flask, rule: str) -> bool:
    marks = [
        mark_of(app.view_functions[one.endpoint])
        for one in app.url_map.iter_rules()
        if one.rule == rule
    ]
    return any(mark is not None and mark.is_personal for mark in marks)


def _rule(app: Flask, method: str, path: str) -> str:
    adapter = app.url_map.bind("localhost")
    found, _ = adapter.match(path.format_map(_AnyId()), method=method, return_rule=True)
    return found.rule


def _count(world: World, name: str) -> int:
    with world.sessions() as session:
        mine = AuditEntry.actor == world.people[name].account_id
        return session.scalar(select(func.count()).select_from(AuditEntry).where(mine)) or 0


def test_every_reason_belongs_to_a_route_that_is_there(app: Flask) -> None:
    served = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    assert set(WITHOUT_ENTRY) <= served


def test_every_request_of_a_record_system_leaves_one_entry(ehr_stage: EhrStage) -> None:
    wrong = []
    for method, path, expected in _fhir_rows():
        for name in expected:
            if name in {"own", "other clinic"}:
                before = _ehr_entries(ehr_stage.stage.world)
                status = ehr_stage.answer(name, method, path).status_code
                left = _ehr_entries(ehr_stage.stage.world) - before
                if left != 1:
                    wrong.append(f"{method} {path}: {name}'s {status} left {left} entries")

    assert wrong == []


def _fhir_rows() -> Iterator[tuple[str, str, dict[str, int]]]:
    """Those that ask for something of a patient; the rest is the description of the API."""
    for method, path, expected in read_table(FHIR_TABLE, EHR_CLIENTS):
        if expected["no token"] == HTTPStatus.UNAUTHORIZED:
            yield method, path, expected


def _ehr_entries(world: World) -> int:
    with world.sessions() as session:
        ehr = AuditEntry.actor.startswith("ehr:")
        return session.scalar(select(func.count()).select_from(AuditEntry).where(ehr)) or 0


@pytest.mark.usefixtures("stage")
def test_who_has_no_token_leaves_one_entry_a_minute_however_often_they_ask(
    app: Flask, world: World
) -> None:
    nobody = app.test_client()
    before = _ehr_entries(world)

    answers = [nobody.get("/fhir/R4/DiagnosticReport").status_code for _ in range(5)]

    assert answers == [HTTPStatus.UNAUTHORIZED] * 5
    assert _ehr_entries(world) - before <= 1
