import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from clinic.envelope import Context, PublicKey, Sealed, seal
from tests.browser.sealing_site import Reply, Request, Site, running_site

pytestmark = pytest.mark.browser

STATUS = "[data-viewer-status]"
SKIN = (224, 172, 150)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


PHOTO = png(Image.new("RGB", (640, 480), SKIN))


class Keeper:
    """The server's side of a grant: seals the pictures to the page's own key."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.submission = "sub-1"
        self.waits = 2
        self.final = 200
        self.asked: list[Request] = []
        self.body: bytes | None = None
        site.answer("POST", "/cases/7/grants", self.grant)
        site.answer("GET", "/grants/g1", self.poll)

    def grant(self, request: Request) -> Reply:
        self.asked.append(request)
        return Reply(status=202, body=b'{"grant":"g1","url":"/grants/g1"}')

    def poll(self, _: Request) -> Reply:
        if self.waits:
            self.waits -= 1
            return Reply(status=202)
        answer = {"objects": [self.photo()]}
        return Reply(status=self.final, body=json.dumps(answer).encode())

    def photo(self) -> dict[str, Any]:
        sealed = self.sealed()
        body = self.body or sealed.body
        self.site.answer("GET", "/blobs/photo", lambda _: Reply(body=body))
        return {
            "id": "photo",
            "type": "photo",
            "slot": 1,
            "view": "close_up",
            "header": sealed.header.to_json(),
            "url": "/blobs/photo",
        }

    def sealed(self) -> Sealed:
        raw = base64.b64decode(json.loads(self.asked[-1].body)["public_key"])
        context = Context(submission=self.submission, slot=1, type="photo")
        viewer = PublicKey(kid="viewer", raw=raw)
        return seal(PHOTO, context=context, recipients=[viewer])


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with running_site() as site:
        yield Keeper(site)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    yield page
    page.close()
    expected = ("Failed to load resource", "sealed object refused")
    assert [line for line in complaints if not line.startswith(expected)] == []


def show(page: Page, keeper: Keeper) -> None:
    page.goto(f"{keeper.site.url}/viewer.html")


def pixel(page: Page) -> list[int]:
    return page.evaluate(
        "() => { const c = document.querySelector('canvas');"
        " return [c.width, c.height, ...c.getContext('2d').getImageData(9, 9, 1, 1).data]; }"
    )


def transform(page: Page) -> str:
    return page.evaluate("document.querySelector('canvas').style.transform")


def test_a_photo_is_opened_in_the_page(page: Page, keeper: Keeper) -> None:
    show(page, keeper)
    expect(page.locator(STATUS)).to_have_text("The photos are open.")
    assert pixel(page) == [640, 480, *SKIN, 255]
    assert keeper.asked[0].headers["x-csrftoken"] == "token-1"
    assert keeper.site.count("GET", "/grants/g1") == 3


def test_zoom_and_pan_work_by_buttons_and_keys(page: Page, keeper: Keeper) -> None:
    show(page, keeper)
    expect(page.locator(STATUS)).to_have_text("The photos are open.")
    start = transform(page)
    page.click("[data-zoom=in]")
    zoomed = transform(page)
    assert "scale(1.5)" in zoomed
    page.focus("figure")
    page.keyboard.press("ArrowLeft")
    panned = transform(page)
    assert "translate(40px" in panned
    page.keyboard.press("-")
    assert transform(page) == start
    page.keyboard.press("+")
    page.click("[data-zoom=fit]")
    assert transform(page) == start


def test_pictures_of_another_submission_are_not_shown(page: Page, keeper: Keeper) -> None:
    keeper.submission = "sub-2"
    show(page, keeper)
    expect(page.locator(STATUS)).to_contain_text("failed its safety check")
    assert page.locator("[data-shown]").count() == 0


def test_a_changed_ciphertext_is_not_shown(page: Page, keeper: Keeper) -> None:
    keeper.body = bytes(500)
    show(page, keeper)
    expect(page.locator(STATUS)).to_contain_text("failed its safety check")
    assert page.locator("[data-shown]").count() == 0


@pytest.mark.parametrize(("status", "words"), [(403, "may not see"), (503, "just now")])
def test_a_refused_grant_is_put_into_words(
    page: Page, keeper: Keeper, status: int, words: str
) -> None:
    keeper.final = status
    show(page, keeper)
    expect(page.locator(STATUS)).to_contain_text(words)
    keeper.final = 200
    page.click("button:text('Try again')")
    expect(page.locator(STATUS)).to_have_text("The photos are open.")


def test_a_request_that_is_refused_at_once_is_put_into_words(page: Page, keeper: Keeper) -> None:
    keeper.site.answer("POST", "/cases/7/grants", lambda _: Reply(status=403))
    show(page, keeper)
    expect(page.locator(STATUS)).to_contain_text("may not see")


def test_a_page_that_is_left_holds_no_picture_and_opens_them_anew_on_the_way_back(
    page: Page, keeper: Keeper
) -> None:
    show(page, keeper)
    expect(page.locator(STATUS)).to_have_text("The photos are open.")

    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    sizes = "[...document.querySelectorAll('canvas')].map((one) => one.width * one.height)"
    assert page.evaluate(sizes) == [0]
    assert page.locator("[data-shown]").count() == 0

    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("[data-shown]")).to_have_count(1)
    assert pixel(page) == [640, 480, *SKIN, 255]
    assert keeper.asked[0].body != keeper.asked[1].body


def test_pictures_leave_no_address_that_others_could_load(page: Page, keeper: Keeper) -> None:
    page.add_init_script(
        "window.made = []; URL.createObjectURL = (one) => { window.made.push(one); return ''; }"
    )
    show(page, keeper)
    expect(page.locator(STATUS)).to_have_text("The photos are open.")
    assert page.evaluate("window.made") == []


def test_each_try_uses_a_key_of_its_own(page: Page, keeper: Keeper) -> None:
    show(page, keeper)
    expect(page.locator(STATUS)).to_have_text("The photos are open.")
    show(page, keeper)
    expect(page.locator(STATUS)).to_have_text("The photos are open.")
    assert keeper.asked[0].body != keeper.asked[1].body
