"""Every route, for every kind of visitor: what each answer carries and what no page may hold.

A route or a role that is new is crawled by itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from clinic.access import Role
from clinic.keeper_protocol import ObjectKind
from clinic.records import ehr_clients
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    CASE,
    DECISION,
    another_app,
    ask_for_pictures,
    half_signed_in,
    object_of,
)
from tests.world import Person, World
from web.database import db

FOREIGN_ADDRESS = re.compile(r"""(?:src|href|action|data-[\w-]+)\s*=\s*["'](https?:)?//[^"']*""")
PERSONAL = re.compile(
    r"alice|carol|@|-family|melanom|n[ae]evus|carcinom|harmless|below", re.IGNORECASE
)
NO_LEAVING = "/sign-out"


@dataclass(frozen=True)
class Visitor:
    client: FlaskClient
    headers: dict[str, str]
    token: str = ""

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers=self.headers, buffered=True)

    def post(self, path: str, data: dict[str, Any]) -> TestResponse:
        fields = {**data, "csrf_token": self.token}
        return self.client.post(path, data=fields, headers=self.headers, buffered=True)


@dataclass(frozen=True)
class Visit:
    name: str
    method: str
    rule: str
    answer: TestResponse

    def __str__(self) -> str:
        return f"{self.name}: {self.method} {self.answer.request.path} {self.answer.status_code}"


@pytest.fixture
def https(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The portal as it is in production: under https, with the cookie of such a host."""
    app = another_app(world, database_url, tmp_path, public_url="https://skin.example")
    app.config.update(SERVER_NAME="skin.example", PREFERRED_URL_SCHEME="https")
    yield app
    with app.app_context():
        db.engine.dispose()


def person_of(world: World, role: Role) -> Person:
    known = (one for one in world.people.values() if one.role is role)
    return next(known, None) or world.add_person(f"some-{role}", role)


def visitors_of(app: Flask, world: World) -> dict[str, Visitor]:
    """Nobody, each role, who is signed in by half, strangers to the case, and a record system."""
    people = {str(role): person_of(world, role) for role in Role}
    people |= {"other patient": world.carol, "other reader": world.dan, "far reader": world.frank}
    found = {}
    for name, person in people.items():
        session = BrowserSession.of(app, world, person)
        found[name] = Visitor(session.client, {}, session.csrf_token())
    found["nobody"] = Visitor(app.test_client(), {})
    found["half"] = Visitor(half_signed_in(app, world, world.bob), {})
    with world.sessions() as session, session.begin():
        token = ehr_clients.register(session, clinic_id=world.clinic_id, name="A record system")
    bearer = {"Authorization": f"Bearer {token.token}"}
    return {**found, "record system": Visitor(app.test_client(), bearer)}


def values_of(world: World, visitors: dict[str, Visitor]) -> dict[str, list[str]]:
    """What stands in the places of addresses; a place without a value here gets "unknown"."""
    case, done = world.first_read(world.alice, world.bob), world.signed(world.alice, world.bob)
    readers = (visitors[Role.PATIENT], visitors[Role.DERMATOLOGIST])
    asked = [ask_for_pictures(one.client, one.token, case) for one in readers]
    return {
        "case_id": [case, done],
        "object_id": [object_of(world, case, ObjectKind.RENDITION)],
        "request_id": [one.json["grant"] for one in asked],
        "resource_id": [done],
        "filename": ["js/viewer.js"],
    }


def paths_of(rule: Rule, values: dict[str, list[str]]) -> Iterator[str]:
    names = sorted(rule.arguments)
    for value in values.get(names[0], ["unknown"]) if names else [""]:
        yield re.sub(r"<[^>]+>", value, rule.rule)


@pytest.fixture
def crawl(https: Flask, world: World) -> list[Visit]:
    """The answer to GET and POST of every rule, for each visitor; leaving comes last."""
    visitors = visitors_of(https, world)
    values = values_of(world, visitors)
    rules = sorted(
        https.url_map.iter_rules(), key=lambda rule: (rule.rule == NO_LEAVING, rule.rule)
    )
    visits = [
        Visit(name, method, rule.rule, visitor.get(path) if method == "GET" else post)
        for method in ("GET", "POST")
        for rule in rules
        if method in (rule.methods or ())
        for path in paths_of(rule, values)
        for name, visitor in visitors.items()
        for post in [visitor.post(path, {}) if method == "POST" else None]
    ]
    again = visitors_of(https, world)
    patient, reader = again[Role.PATIENT], again[Role.DERMATOLOGIST]
    forms = {
        "/cases/new": [patient.post("/cases/new", CASE)],
        "/sign": [reader.post(f"/review/{values['case_id'][0]}/sign", DECISION)],
        "stop": [patient.post("/cases/new", {**CASE, "site": "genital"})],
        "/nowhere": [one.get("/nowhere") for one in again.values()],
    }
    visits += [Visit("forms", "POST", name, one) for name, found in forms.items() for one in found]
    return visits


def test_the_crawl_opens_pages_of_every_kind_and_meets_no_failure(
    crawl: list[Visit], https: Flask
) -> None:
    opened = {(one.name, one.rule) for one in crawl if one.answer.status_code == 200}

    assert {rule.rule for rule in https.url_map.iter_rules()} <= {one.rule for one in crawl}
    for name, rule in (
        *(("nobody", "/sign-in"), ("patient", "/cases/<case_id>"), ("patient", "/cases/new")),
        *(("dermatologist", "/review/<case_id>"), ("administrator", "/operations")),
        ("record system", "/fhir/R4/DiagnosticReport"),
    ):
        assert (name, rule) in opened
    failed = [str(one) for one in crawl if one.answer.status_code >= 500 and one.rule != "/readyz"]
    assert failed == []


def is_static(visit: Visit) -> bool:
    return visit.rule.startswith("/static") and visit.answer.status_code == 200


def policy_of(answer: TestResponse) -> dict[str, str]:
    parts = answer.headers["Content-Security-Policy"].split(";")
    return dict(part.strip().partition(" ")[::2] for part in parts)


def the_policy_allows_nothing_inline_and_nothing_from_elsewhere(visit: Visit) -> bool:
    policy = policy_of(visit.answer)
    if visit.rule.startswith("/fhir") and "sandbox" in policy:
        return policy == {"default-src": "'none'", "sandbox": ""}
    closed = ("default-src", "object-src", "base-uri", "frame-ancestors")
    own = ("form-action", "connect-src", "style-src", "font-src", "manifest-src")
    return (
        {policy[name] for name in closed} == {"'none'"}
        and {policy[name] for name in own} == {"'self'"}
        and policy["img-src"] == "'self' blob: data:"
        and re.fullmatch(r"'self' 'nonce-[\w-]{20,}'", policy["script-src"]) is not None
        and (policy["report-uri"], policy["report-to"]) == ("/csp-reports", "csp")
        and len(policy) == 13
    )


def the_other_headers_are_there(visit: Visit) -> bool:
    return {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
        "Reporting-Endpoints": 'csp="/csp-reports"',
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    }.items() <= dict(visit.answer.headers).items()


def nothing_but_static_files_may_be_stored(visit: Visit) -> bool:
    kept = visit.answer.headers["Cache-Control"]
    return kept == ("public, max-age=3600" if is_static(visit) else "no-store")


def every_cookie_is_bound_to_the_host_and_hidden_from_scripts(visit: Visit) -> bool:
    cookies = [one.split("; ") for one in visit.answer.headers.getlist("Set-Cookie")]
    return all(
        name.startswith("__Host-dermqueue=")
        and {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(flags)
        and not any(flag.startswith("Domain") for flag in flags)
        for name, *flags in cookies
    )


def leaving_clears_what_the_browser_kept(visit: Visit) -> bool:
    if visit.rule != NO_LEAVING or visit.answer.status_code != 302:
        return True
    led_on = visit.answer.location.startswith("/sign-in")
    return led_on or visit.answer.headers["Clear-Site-Data"] == '"cache", "storage"'


def html_of(visit: Visit) -> str:
    return visit.answer.text if visit.answer.mimetype == "text/html" else ""


class Inline(HTMLParser):
    """Collects what the policy would block, and the title."""

    def __init__(self, nonce: str) -> None:
        super().__init__()
        self.nonce = nonce
        self.found: list[str] = []
        self.title = ""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._in_title = tag == "title" and not self.title
        bare_script = tag == "script" and "src" not in given and given.get("nonce") != self.nonce
        if tag in {"style", "base", "object", "embed", "iframe"} or bare_script:
            self.found.append(f"<{tag}>")
        self.found += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name == "style"
            or name.startswith("on")
            or (value or "").strip().lower().startswith(("javascript:", "data:text"))
        ]

    def handle_endtag(self, _tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data


def parsed(visit: Visit) -> Inline:
    found = re.search(r"'nonce-([\w-]+)'", visit.answer.headers["Content-Security-Policy"])
    page = Inline(found.group(1) if found else "")
    page.feed(html_of(visit))
    return page


def the_page_holds_nothing_inline(visit: Visit) -> bool:
    return parsed(visit).found == []


def the_page_names_no_other_site(visit: Visit) -> bool:
    return FOREIGN_ADDRESS.search(html_of(visit)) is None


def the_title_says_what_the_page_is_and_nothing_of_the_person(visit: Visit) -> bool:
    is_page = html_of(visit).lstrip().lower().startswith("<!doctype")
    if not is_page:
        return True
    title = parsed(visit).title.strip()
    return bool(title) and not PERSONAL.search(title)


def no_address_says_anything_of_the_person(visit: Visit) -> bool:
    linked = re.findall(r'(?:href|action|src)="([^"]*)"', html_of(visit))
    shown = [visit.answer.request.url, visit.answer.headers.get("Location", ""), *linked]
    return not any(PERSONAL.search(one) for one in shown if not one.startswith("mailto:"))


RULES = (
    the_policy_allows_nothing_inline_and_nothing_from_elsewhere,
    the_other_headers_are_there,
    nothing_but_static_files_may_be_stored,
    every_cookie_is_bound_to_the_host_and_hidden_from_scripts,
    leaving_clears_what_the_browser_kept,
    the_page_holds_nothing_inline,
    the_page_names_no_other_site,
    the_title_says_what_the_page_is_and_nothing_of_the_person,
    no_address_says_anything_of_the_person,
)


def test_every_answer_to_every_visitor_keeps_every_rule(crawl: list[Visit]) -> None:
    broken = [
        f"{visit}: not {rule.__name__}" for visit in crawl for rule in RULES if not rule(visit)
    ]

    assert broken == []
    assert any(one.rule == NO_LEAVING and one.answer.location == "/" for one in crawl)
    nonces = [policy_of(one.answer).get("script-src", str(one)) for one in crawl]
    assert len(set(nonces)) > len(crawl) * 0.99, "each answer has a nonce of its own"
