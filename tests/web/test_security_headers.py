"""What every answer carries, on every page that each kind of person can open."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from clinic.keeper_protocol import ObjectKind
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    CASE,
    DECISION,
    another_app,
    ask_for_pictures,
    half_signed_in,
    object_of,
    send,
)
from tests.world import PASSWORD, World
from web.database import db

SignedIn = Callable[[str], BrowserSession]
PUBLIC = {"/", "/help", "/privacy", "/ai-label", "/register", "/sign-in", "/healthz", "/readyz"}
ADDRESS = re.compile(r"""(?:src|href|action|data-[\w-]+)\s*=\s*["'](https?:)?//[^"']*""")


@pytest.fixture
def crawl(app: Flask, world: World, signed_in: SignedIn) -> dict[str, list[TestResponse]]:
    """The answers of every GET route of the portal, for each kind of person."""
    case, done = world.first_read(world.alice, world.bob), world.signed(world.alice, world.bob)
    alice, bob = signed_in("alice"), signed_in("bob")
    grants = [
        ask_for_pictures(one.client, one.csrf_token(), case).json["url"] for one in (alice, bob)
    ]
    ids = {
        "case_id": [case, done],
        "object_id": [object_of(world, case, ObjectKind.RENDITION)],
        "request_id": [url.rpartition("/")[2] for url in grants],
        "token": ["a-token"],
        "slug": ["clinic-1"],
    }
    paths = [path for path in _paths(app, ids) if not path.startswith(("/static", "/fhir"))]
    people: dict[str, FlaskClient] = {
        "nobody": app.test_client(),
        "half": half_signed_in(app, world, world.dan),
        **{name: signed_in(name).client for name in ("carol", "erin", "grace", "frank")},
        "alice": alice.client,
        "bob": bob.client,
    }
    found = {
        name: [client.get(path) for path in [*paths, "/nowhere"]] for name, client in people.items()
    }
    found["posts"] = [
        alice.post("/cases/new", CASE),
        alice.post("/cases/new", {**CASE, "site": "genital"}),
        bob.post(f"/review/{case}/sign", DECISION),
        app.test_client().post("/sign-in"),
    ]
    return found


def _paths(app: Flask, ids: dict[str, list[str]]) -> Iterator[str]:
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()):
            continue
        names = sorted(rule.arguments)
        if not names:
            yield rule.rule
        for value in ids.get(names[0], []) if names else []:
            yield re.sub(r"<[^>]+>", value, rule.rule)


def pages(crawl: dict[str, list[TestResponse]]) -> Iterator[TestResponse]:
    for answers in crawl.values():
        yield from answers


def test_the_crawl_reaches_pages_of_every_kind(crawl: dict[str, list[TestResponse]]) -> None:
    opened = {
        name: {one.request.path for one in answers if one.status_code == 200}
        for name, answers in crawl.items()
    }

    assert PUBLIC - {"/readyz"} <= opened["nobody"]
    assert {"/cases", "/cases/new", "/my-record/access", "/account"} <= opened["alice"]
    assert {"/review", "/step-up"} <= opened["bob"]
    assert "/operations" in opened["erin"]
    assert {"/operations", "/audit"} <= opened["grace"]
    assert {one.status_code for one in pages(crawl)} == {200, 302, 400, 403, 404, 422, 503}


def policy_of(answer: TestResponse) -> dict[str, str]:
    parts = answer.headers["Content-Security-Policy"].split(";")
    return dict(part.strip().partition(" ")[::2] for part in parts)


def policy_allows_nothing_inline_and_nothing_from_elsewhere(answer: TestResponse) -> bool:
    policy = policy_of(answer)
    closed = ("default-src", "object-src", "base-uri", "frame-ancestors")
    own = ("form-action", "connect-src", "style-src", "font-src", "manifest-src")
    return (
        {policy[name] for name in closed} == {"'none'"}
        and {policy[name] for name in own} == {"'self'"}
        and policy["img-src"] == "'self' blob: data:"
        and re.fullmatch(r"'self' 'nonce-[\w-]{20,}'", policy["script-src"]) is not None
        and len(policy) == 11
    )


def html_of(answer: TestResponse) -> str:
    return answer.text if answer.content_type.startswith("text/html") else ""


def page_keeps_to_the_policy(answer: TestResponse) -> bool:
    inline = re.search(r"<style|\sstyle=|\son\w+=|javascript:", html_of(answer))
    bare = re.search(r"<script(?![^>]*(\ssrc=|\snonce=))", html_of(answer))
    return inline is None and bare is None


def page_names_no_other_site(answer: TestResponse) -> bool:
    return ADDRESS.search(html_of(answer)) is None


def other_headers_are_there(answer: TestResponse) -> bool:
    return {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }.items() <= dict(answer.headers).items()


def nothing_personal_is_in_address_or_title(answer: TestResponse) -> bool:
    title = re.search(r"<title>(.*?)</title>", html_of(answer))
    shown = f"{answer.request.url} {title.group(1) if title else ''}"
    return not re.search(r"alice|carol|@|family|melanom|nevus|harmless", shown, re.IGNORECASE)


RULES = (
    policy_allows_nothing_inline_and_nothing_from_elsewhere,
    page_keeps_to_the_policy,
    page_names_no_other_site,
    other_headers_are_there,
    nothing_personal_is_in_address_or_title,
)


def test_every_answer_to_every_person_keeps_every_rule(
    crawl: dict[str, list[TestResponse]],
) -> None:
    broken = [
        f"{name} {answer.request.path}: not {rule.__name__}"
        for name, answers in crawl.items()
        for answer in answers
        for rule in RULES
        if not rule(answer)
    ]

    assert broken == []
    policies = [policy_of(one)["script-src"] for one in pages(crawl)]
    assert len(set(policies)) == len(policies), "each answer has a nonce of its own"


def test_static_files_may_be_stored_and_set_no_cookie(client: FlaskClient) -> None:
    with client.get("/static/js/viewer.js") as static:
        assert static.headers["Cache-Control"] == "public, max-age=3600"
        assert static.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in static.headers


def test_plain_http_sends_no_transport_promise(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/").headers


@pytest.fixture
def https(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = another_app(world, database_url, tmp_path, public_url="https://skin.example")
    yield app
    with app.app_context():
        db.engine.dispose()


def test_under_https_the_browser_is_told_to_stay_there(https: Flask) -> None:
    for path in ("/", "/sign-in", "/nowhere", "/healthz"):
        headers = https.test_client().get(path, base_url="https://skin.example").headers
        assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


def test_under_https_the_cookie_is_bound_to_the_host_and_hidden_from_scripts(
    https: Flask,
) -> None:
    client = https.test_client()
    form = {"email": "alice@example.org", "password": PASSWORD}
    site = {"base_url": "https://skin.example", "headers": {"Referer": "https://skin.example/"}}
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/sign-in", **site).text)

    answer = client.post("/sign-in", data={**form, "csrf_token": token.group(1)}, **site)

    assert answer.status_code == 302
    (cookie,) = answer.headers.getlist("Set-Cookie")
    name, *flags = [part.strip() for part in cookie.split(";")]
    assert name.startswith("__Host-dermqueue=")
    assert set(flags) == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


@pytest.mark.parametrize(("sent_from", "status"), [("cross-site", 400), ("same-origin", 302)])
def test_under_https_a_form_of_another_site_is_refused_and_our_own_needs_no_referrer(
    https: Flask, sent_from: str, status: int
) -> None:
    client = https.test_client()
    site = {"base_url": "https://skin.example", "headers": {"Sec-Fetch-Site": sent_from}}
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/sign-in", **site).text)
    form = {"email": "alice@example.org", "password": PASSWORD, "csrf_token": token.group(1)}

    assert client.post("/sign-in", data=form, **site).status_code == status


def test_the_cookie_is_hidden_from_scripts_also_on_plain_http(client: FlaskClient) -> None:
    form = {"email": "alice@example.org", "password": PASSWORD}
    answer = send(client, "/sign-in", form)

    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
