"""The real portal on a port of its own, and its visitors: what browser tests share."""

import io
import re
import threading
from collections.abc import Iterator
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

from tests.fakes import FakeAnalyst
from tests.portal_tools import another_app
from tests.world import World
from tools.ports import free_port
from web.database import db
from worker.analysis import Analysis

ID = re.compile(r"[0-9a-f]{32}")
# What the policy refuses, and how far the page moves without anybody's doing
# (https://web.dev/articles/cls; their plain sum, which is never less).
LISTEN = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => {
    window.broken.push(`${event.effectiveDirective}: ${event.blockedURI || event.sample}`);
});
window.shifts = [];
const noteShifts = (list) => window.shifts.push(...list
    .filter((one) => !one.hadRecentInput)
    .map((one) => ({ value: one.value, nodes: one.sources.map((at) => at.node?.className) })));
const shiftObserver = new PerformanceObserver((list) => noteShifts(list.getEntries()));
shiftObserver.observe({ type: "layout-shift", buffered: true });
window.allShifts = () => (noteShifts(shiftObserver.takeRecords()), window.shifts);
"""


class DrawingAnalyst(FakeAnalyst):
    """A real picture for a heat-map, since the browser shows it."""

    def analyse_one(self, pixels: np.ndarray) -> Analysis:
        out = io.BytesIO()
        Image.new("RGBA", (8, 8)).save(out, "PNG")
        found = super().analyse_one(pixels)
        return replace(found, maps=tuple(replace(one, png=out.getvalue()) for one in found.maps))


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
