"""Hostile values in every address, query, form and JSON body of the portal.

Whatever comes: never a failure of ours, and what is refused has stored nothing.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from werkzeug.test import TestResponse

from clinic.access import Role
from clinic.keeper_protocol import ObjectKind
from tests.browser_session import BrowserSession
from tests.fuzz.conftest import SHARES, Budget
from tests.fuzz.hostile import json_values, texts
from tests.portal_tools import (
    CASE,
    DECISION,
    FIRST_READ,
    JSON,
    REGISTRATION,
    object_of,
    token_of,
)
from tests.world import PASSWORD, PHOTO, World
from web.database import db
from web.portal.forms import PortalForm
from web.rate_limits import limiter

# What a good form of each address holds; hostile values take the places of some of it.
GOOD_FORMS: dict[str, dict[str, Any]] = {
    "/register": REGISTRATION,
    "/sign-in": {"email": "alice@example.org", "password": PASSWORD, "next": "/cases"},
    "/second-factor": {"code": "123456", "next": "/review"},
    "/step-up": {"code": "123456", "next": "/review"},
    "/cases/new": CASE,
    "/account/consents": {"consent_ai": "y", "consent_research": "y"},
    "/review/<case_id>/first-read": FIRST_READ,
    "/review/<case_id>/sign": {**DECISION, "action": "preview"},
    "/review/<case_id>/retake": {"reasons": "blur", "message": "Go to a window."},
    "/review/<case_id>/release": {"reason": "no_time"},
}
QUERY_NAMES = ("after", "next", "show", "actor", "action", "reference", "page", "q")
ALWAYS_WRITTEN = {"audit_entry", "audit_head", "login_session"}
ENDS_THE_READING = ("/retake", "/release", "/sign")
_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+\"?(\w+)", re.IGNORECASE)


@dataclass
class Stored:
    """The tables that committed transactions wrote to since `forget`."""

    tables: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)

    def forget(self) -> None:
        self.tables.clear()
        self.pending.clear()


@contextmanager
def watched(engine: Engine) -> Iterator[Stored]:
    stored = Stored()

    def on_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if found := _WRITES.match(statement):
            stored.pending.add(found.group(1))

    def on_commit(_: Any) -> None:
        stored.tables |= stored.pending
        stored.pending.clear()

    def on_rollback(_: Any) -> None:
        stored.pending.clear()

    listeners = (
        ("before_cursor_execute", on_statement),
        ("commit", on_commit),
        ("rollback", on_rollback),
    )
    for name, listener in listeners:
        event.listen(engine, name, listener)
    yield stored
    for name, listener in listeners:
        event.remove(engine, name, listener)


@dataclass
class Target:
    app: Flask
    world: World
    stored: Stored
    visitors: dict[str, tuple[FlaskClient, str]]
    routes: list[tuple[str, str]]  # method and rule
    fields: list[str]
    values: dict[str, list[str]]

    def address(self, rule: str, given: list[str]) -> str:
        """The rule with known ids in its places, or with what is given."""
        places = re.findall(r"<(?:\w+:)?(\w+)>", rule)
        for name, own in zip(places, [*given, *[""] * len(places)], strict=False):
            known = self.values.get(name, ["unknown"])
            value = quote(own, safe="%") or known[0]
            rule = re.sub(rf"<(?:\w+:)?{name}>", lambda _, value=value: value, rule)
        return rule


def every_field(app: Flask) -> list[str]:
    """The names of all fields of all forms."""

    def kinds(base: type) -> Iterator[type]:
        for one in base.__subclasses__():
            yield one
            yield from kinds(one)

    with app.test_request_context():
        names = {name for kind in kinds(PortalForm) for name in kind(formdata=None)._fields}
    parts = {f"birth_date-{part}" for part in ("day", "month", "year")}
    return sorted((names | parts | {"next", "submission", "action"}) - {"csrf_token"})


def routes_of(app: Flask) -> list[tuple[str, str]]:
    return sorted(
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in {"GET", "POST"} and rule.endpoint.startswith("portal.")
        if rule.rule != "/sign-out"
    )


@pytest.fixture
def target(app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setattr(limiter, "enabled", False)
    case = world.first_read(world.alice, world.bob)
    world.signed(world.alice, world.bob)
    people = {"alice": world.alice, "bob": world.bob, "erin": world.erin}
    for role in set(Role) - {one.role for one in people.values()}:
        people[str(role)] = world.add_person(f"some-{role}", role)
    visitors = {}
    for name, person in people.items():
        session = BrowserSession.of(app, world, person)
        visitors[name] = (session.client, session.csrf_token())
    nobody = app.test_client()
    visitors["nobody"] = (nobody, token_of(nobody))
    values = {
        "case_id": [case],
        "object_id": [object_of(world, case, ObjectKind.RENDITION)],
    }
    with app.app_context():
        engine = db.engine
    with watched(engine) as stored:
        yield Target(app, world, stored, visitors, routes_of(app), every_field(app), values)


@dataclass(frozen=True)
class Sent:
    method: str
    rule: str
    who: str
    places: list[str]
    query: dict[str, str]
    form: dict[str, list[str]]
    json: Any
    photo: bytes | None
    sealed: bool
    as_script: bool


@st.composite
def requests(draw: st.DrawFn, target: Target) -> Sent:
    method, rule = draw(st.sampled_from(target.routes))
    good = {name: [value] for name, value in GOOD_FORMS.get(rule, {}).items()}
    names = st.sampled_from([*good, *good, *target.fields])
    changed = draw(st.dictionaries(names, st.lists(texts, max_size=2), max_size=3))
    has_photo = "/cases" in rule and draw(st.booleans())
    return Sent(
        method=method,
        rule=rule,
        who=draw(st.sampled_from(sorted(target.visitors))),
        places=draw(st.lists(texts, max_size=1)),
        query=draw(st.dictionaries(st.sampled_from(QUERY_NAMES) | texts, texts, max_size=2)),
        form={**good, **changed},
        json=draw(st.none() | st.fixed_dictionaries({"public_key": json_values}) | json_values),
        photo=draw(st.binary(max_size=80) | st.just(PHOTO[:300])) if has_photo else None,
        sealed=draw(st.booleans()),
        as_script=draw(st.booleans()),
    )


def answer_to(target: Target, sent: Sent) -> TestResponse:
    client, token = target.visitors[sent.who]
    path = target.address(sent.rule, sent.places)
    headers = {**(JSON if sent.as_script else {}), "X-CSRFToken": token}
    if sent.method == "GET":
        return client.get(path, query_string=sent.query, headers=headers, buffered=True)
    if sent.json is not None:
        return client.post(path, json=sent.json, headers=headers, buffered=True)
    data: dict[str, Any] = {**sent.form, "csrf_token": token}
    if sent.photo is not None:
        kind = "sealed" if sent.sealed else "photo"
        data[f"{kind}_close_up"] = (io.BytesIO(sent.photo), "photo.jpg")
    return client.post(path, query_string=sent.query, data=data, headers=headers, buffered=True)


def check(target: Target, sent: Sent) -> None:
    target.stored.forget()
    answer = answer_to(target, sent)
    assert answer.status_code < 500, f"{answer.status_code} of {answer.request.path!r}"
    if answer.status_code >= 400:
        assert target.stored.tables <= ALWAYS_WRITTEN, f"{answer.status_code} stored something"
    elif sent.method == "POST" and sent.rule.endswith(ENDS_THE_READING):
        target.values["case_id"] = [target.world.first_read(target.world.alice, target.world.bob)]


@SHARES
def test_no_request_breaks_the_portal_or_stores_what_it_refuses(
    target: Target, budget: Budget, part: float
) -> None:
    @budget.settings(part=part)
    @given(st.data())
    def one(data: st.DataObject) -> None:
        budget.tried += 1
        check(target, data.draw(requests(target)))

    one()
