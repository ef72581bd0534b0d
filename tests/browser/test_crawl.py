"""Every page in a real browser, for each role: nothing breaks the content policy or complains."""

import io
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page
from werkzeug.serving import make_server

from clinic.access import Role
from tests.browser.sealing_site import running_browser
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import another_app
from tests.world import World
from tools.ports import free_port
from web.database import db
from worker.analysis import Analysis

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What is no page: files, health, the FHIR API, and what answers with data to a page's script.
NO_PAGE = re.compile(
    r"/(static|fhir|healthz|readyz|metrics|invariants|grants|objects|operations/live|review/live)\b"
    r"|.*\.(csv|js|json|zip)\Z"
)
ID = re.compile(r"[0-9a-f]{32}")
LISTEN = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => {
    window.broken.push(`${event.effectiveDirective}: ${event.blockedURI || event.sample}`);
});
"""


class DrawingAnalyst(FakeAnalyst):
    """A real picture for a heat-map, since the browser shows it."""

    def analyse_one(self, pixels: np.ndarray) -> Analysis:
        out = io.BytesIO()
        Image.new("RGBA", (8, 8)).save(out, "PNG")
        found = super().analyse_one(pixels)
        return replace(found, maps=tuple(replace(one, png=out.getvalue()) for one in found.maps))


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@dataclass(frozen=True)
class Site:
    app: Flask
    url: str


@pytest.fixture
def site(world: World, database_url: str, tmp_path: Path) -> Iterator[Site]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    app = another_app(world, database_url, tmp_path, public_url=url)
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(app, url)
    server.shutdown()
    thread.join()
    server.server_close()
    with app.app_context():
        db.engine.dispose()


@dataclass
class Visitor:
    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self._complain(str(error)))

    def visit(self, path: str) -> None:
        """Open the page; one with photos is given the time to fetch and open them."""
        self.page.goto(path, wait_until="networkidle" if ID.search(path) else "load")
        for one in self.page.evaluate("window.broken"):
            self._complain(one)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complain(f"{message.text} {message.location}")

    def _complain(self, words: str) -> None:
        self.complaints.append(f"{urlsplit(self.page.url).path}: {words}")


def visitor(browser: Browser, site: Site, client: FlaskClient) -> Visitor:
    """A window with the session of this client."""
    context = browser.new_context(base_url=site.url)
    context.add_init_script(LISTEN)
    cookie = client.get_cookie("dermqueue")
    if cookie is not None:
        context.add_cookies([{"name": "dermqueue", "value": cookie.value, "url": site.url}])
    return Visitor(context.new_page())


def pages(app: Flask, cases: Sequence[str]) -> list[str]:
    rules = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    paths = {rule.replace("<case_id>", case) for rule in rules for case in cases}
    return sorted(one for one in paths if "<" not in one and not NO_PAGE.match(one))


def clients(site: Site, world: World) -> Iterator[tuple[str, FlaskClient]]:
    yield "nobody", site.app.test_client()
    for role in Role:
        known = (one for one in world.people.values() if one.role is role)
        person = next(known, None) or world.add_person(f"some-{role}", role)
        yield role, BrowserSession.of(site.app, world, person).client


def test_no_page_breaks_the_policy_or_complains_to_the_console(
    browser: Browser, site: Site, world: World
) -> None:
    world.analyst = DrawingAnalyst()
    signed = world.signed(world.alice, world.bob)
    read = world.first_read(world.alice, world.bob)
    complaints, opened = [], {}

    for name, client in clients(site, world):
        one = visitor(browser, site, client)
        paths = pages(site.app, [signed, read])
        opened[name] = {path for path in paths if client.get(path).status_code == 200}
        for path in sorted(opened[name]):
            one.visit(path)
        complaints += [f"{name} {said}" for said in one.complaints]
        one.page.context.close()

    assert complaints == []
    assert {"/", "/sign-in", "/register", "/privacy"} <= opened["nobody"]
    assert {"/cases/new", f"/cases/{signed}", "/my-record"} <= opened[Role.PATIENT]
    assert {"/review", f"/review/{read}", f"/review/{signed}"} <= opened[Role.DERMATOLOGIST]
    assert {"/operations", "/people", "/erasure-requests"} <= opened[Role.ADMINISTRATOR]
    assert {"/operations", "/audit"} <= opened[Role.AUDITOR]


def test_the_listener_hears_what_the_policy_refuses(browser: Browser, site: Site) -> None:
    page = visitor(browser, site, site.app.test_client()).page
    page.goto("/")

    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), "
        "{src: 'http://127.0.0.1:1/x.png'}))"
    )

    page.wait_for_function("window.broken.length >= 2")
    rules = {said.partition(":")[0] for said in page.evaluate("window.broken")}
    assert {"style-src-attr", "img-src"} <= rules
    page.context.close()
