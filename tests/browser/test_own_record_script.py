"""The archive that the browser builds: the server's files, and the photos as they were sealed."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from clinic.envelope import Context, PublicKey, seal
from tests.browser.sealing_site import Reply, Request, Site, running_site

pytestmark = pytest.mark.browser

CASE = "4f2a9c01" + "0" * 24
README = "Zoë: your record\n".encode()
LEAFLET = b"%PDF-1.7 \x00\xff"
PHOTOS = {
    "close_up": b"\xff\xd8\xff" + b"jpeg" * 70_000,
    "overview": b"\x89PNG\r\n\x1a\n" + b"p" * 9,
}
STATUS = "[data-archive-status]"


class Server:
    """The portal's side: plain files, and a grant that seals the photos to the page's own key."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.key = b""
        self.damaged = False
        files = [{"name": "README.txt", "content": base64.b64encode(README).decode()}]
        leaflet = {"name": "files/4F2A-9C01/1-leaflet.pdf", "url": "/attachments/a1"}
        cases = [{"id": CASE, "grant_url": "/cases/7/grants", "attachments": [leaflet]}]
        record = {"made_at": "2026-11-23T09:30:00+00:00", "files": files, "cases": cases}
        body = json.dumps(record).encode()
        site.answer("GET", "/my-record/archive.json", lambda _: Reply(body=body))
        site.answer("POST", "/cases/7/grants", self.grant)
        site.answer("GET", "/grants/g1", self.objects)
        site.answer("GET", "/attachments/a1", lambda _: Reply(body=LEAFLET))

    def grant(self, request: Request) -> Reply:
        asked = json.loads(request.body)
        assert asked["replaced"] is True
        self.key = base64.b64decode(asked["public_key"])
        return Reply(status=202, body=b'{"grant":"g1","url":"/grants/g1"}')

    def objects(self, _: Request) -> Reply:
        found = [self.object(slot, view) for slot, view in enumerate(PHOTOS)]
        return Reply(body=json.dumps({"objects": found}).encode())

    def object(self, slot: int, view: str) -> dict[str, Any]:
        context = Context(submission=CASE, slot=slot, type="rendition")
        viewer = PublicKey(kid="viewer", raw=self.key)
        sealed = seal(PHOTOS[view], context=context, recipients=[viewer])
        body = bytes([sealed.body[0] ^ 1]) + sealed.body[1:] if self.damaged else sealed.body
        self.site.answer("GET", f"/objects/{view}", lambda _: Reply(body=body))
        described = {"id": view, "type": "rendition", "slot": slot, "view": view}
        described["replaced"] = view == "overview"
        return {**described, "header": sealed.header.to_json(), "url": f"/objects/{view}"}


@pytest.fixture
def server() -> Iterator[Server]:
    with running_site() as site:
        yield Server(site)


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{server.site.url}/own-record.html")
    yield page
    page.close()


def test_the_archive_holds_the_files_and_the_photos_as_they_were(
    page: Page, tmp_path: Path
) -> None:
    with page.expect_download() as waiting:
        page.click("[data-archive-start]")
    target = tmp_path / "record.zip"
    waiting.value.save_as(target)

    expect(page.locator(STATUS)).to_contain_text("Your record is ready")
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found["README.txt"] == README
    assert found["files/4F2A-9C01/1-leaflet.pdf"] == LEAFLET
    assert found["photos/4F2A-9C01/0-close_up.jpg"] == PHOTOS["close_up"]
    assert found["photos/4F2A-9C01/replaced/1-overview.png"] == PHOTOS["overview"]
    named = json.loads(found.pop("manifest.json"))["files"]
    assert {one["name"]: one["sha256"] for one in named} == {
        name: hashlib.sha256(content).hexdigest() for name, content in found.items()
    }


def test_a_photo_that_was_changed_makes_no_archive(page: Page, server: Server) -> None:
    server.damaged = True
    page.click("[data-archive-start]")
    expect(page.locator(STATUS)).to_contain_text("failed its safety check")


def test_without_leave_the_page_says_what_to_do(page: Page, server: Server) -> None:
    server.site.answer("POST", "/cases/7/grants", lambda _: Reply(status=403))
    page.click("[data-archive-start]")
    expect(page.locator(STATUS)).to_contain_text("You may not see these photos now")
    expect(page.locator("[data-archive-start]")).to_be_enabled()
