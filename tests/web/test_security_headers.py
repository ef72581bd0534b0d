"""Transport, cookies and the origin of forms; tests/web/test_crawl.py looks at every answer."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.browser_session import BrowserSession
from tests.portal_tools import another_app, send, viewer_key
from tests.world import PASSWORD, World
from web.database import db


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
    cookies = [one.split("; ") for one in answer.headers.getlist("Set-Cookie")]
    names = {parts[0].partition("=")[0] for parts in cookies}
    assert names == {"__Host-dermqueue", "__Host-dermqueue-browser"}
    for _, *flags in cookies:
        lasting = {one for one in flags if one.startswith(("Expires=", "Max-Age="))}
        assert set(flags) - lasting == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


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

    for cookie in answer.headers.getlist("Set-Cookie"):
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


@pytest.mark.parametrize("sent_from", ["cross-site", "same-site", "nonsense"])
def test_a_scripts_request_of_another_site_is_refused_though_its_token_is_right(
    app: Flask, world: World, sent_from: str
) -> None:
    alice = BrowserSession.of(app, world, world.alice)
    case = world.screened(world.alice)
    headers = {"X-CSRFToken": alice.csrf_token(), "Sec-Fetch-Site": sent_from}

    answer = alice.client.post(f"/cases/{case}/grants", json=viewer_key()[1], headers=headers)

    assert answer.status_code == 400


@pytest.mark.parametrize("headers", [{}, {"X-CSRFToken": "made-up"}])
def test_a_scripts_request_without_the_pages_token_is_refused(
    app: Flask, world: World, headers: dict[str, str]
) -> None:
    alice = BrowserSession.of(app, world, world.alice)
    case = world.screened(world.alice)

    answer = alice.client.post(f"/cases/{case}/grants", json=viewer_key()[1], headers=headers)

    assert answer.status_code == 400
