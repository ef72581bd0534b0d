"""The desk's viewer in a real browser: its own markup, its own style sheet, the strict policy."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from jinja2 import ChainableUndefined, Environment, PackageLoader
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Locator, Page, expect

from clinic.envelope import Context, PublicKey, seal
from tests.browser.sealing_site import Reply, Request, Site, running_site

pytestmark = pytest.mark.browser

STATUS, MEASURED, COMPARED = (f"[data-{name}-status]" for name in ("viewer", "measure", "compare"))
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 60), (40, 60, 200), (230, 210, 40)
MELANOMA, NAEVUS = (255, 0, 0, 255), (0, 255, 0, 255)
TIMES = "\N{MULTIPLICATION SIGN}"
WIDE = {"width": 1280, "height": 900}


def quarters(width: int, height: int) -> Image.Image:
    """Red and green above blue and yellow: each place says where it is."""
    image = Image.new("RGB", (width, height), RED)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height // 2), fill=GREEN)
    draw.rectangle((0, height // 2, width // 2, height), fill=BLUE)
    draw.rectangle((width // 2, height // 2, width, height), fill=YELLOW)
    return image


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


PICTURES = {
    "far": png(Image.new("RGB", (640, 480), YELLOW)),
    "near": png(quarters(640, 480)),
    "lens": png(quarters(1280, 960)),
    "map1": png(Image.new("RGBA", (64, 48), MELANOMA)),
    "map2": png(Image.new("RGBA", (64, 48), NAEVUS)),
    "old": png(quarters(320, 240)),
    "turned": png(quarters(640, 480).rotate(-90, expand=True)),
}


def photo(name: str, view: str, *layers: tuple[str, str]) -> dict[str, Any]:
    labels = {"overview": "From further away", "close_up": "Close-up", "dermoscopic": "Lens"}
    shown = [{"label": label, "object": one} for label, one in layers]
    return {"object": name, "view": view, "label": labels[view], "layers": shown}


THREE = [
    photo("far", "overview"),
    photo("near", "close_up"),
    photo("lens", "dermoscopic", ("Melanoma", "map1"), ("Melanocytic nevus", "map2")),
]


def visit(name: str, *photos: dict[str, Any]) -> dict[str, Any]:
    sent = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
    return {"id": name, "sent_at": sent, "site": "back, left", "photos": list(photos)}


class Desk:
    """The server's side: the page, and grants that seal the pictures to the page's own key."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.photos = THREE
        self.visits = [visit("sub-0", photo("old", "close_up"))]
        self.asked: list[tuple[str, bytes]] = []
        self.refusal: int | None = None
        self.bodies: dict[str, bytes] = {}
        self.withheld: set[str] = set()
        site.answer("GET", "/desk.html", lambda _: Reply(type="text/html", body=self.page()))
        site.answer("GET", "/next.html", lambda _: Reply(type="text/html", body=b"<p>next</p>"))
        for case in ("sub-1", "sub-0"):
            site.answer("POST", f"/cases/{case}/grants", partial(self.grant, case))

    def page(self) -> bytes:
        templates = Environment(
            loader=PackageLoader("web.portal"), autoescape=True, undefined=ChainableUndefined
        )
        templates.globals |= {
            "csrf_token": lambda: "token-1",
            "url_for": lambda _, case_id: f"/cases/{case_id}/grants",
        }
        templates.filters["local"] = lambda moment: moment
        macros = templates.get_template("macros/desk_photos.html").module
        viewer = macros.desk_viewer("sub-1", self.photos, self.visits)
        style = '<link rel="stylesheet" href="/static/{}">'
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Desk</title>'
            + style.format("vendor/nhsuk/nhsuk.css")
            + style.format("css/dermqueue.css")
            + '<script type="module" src="/static/js/desk-viewer.js"></script></head>'
            + f"<body><main><h1>Case</h1>{viewer}<p class='dq-tall'>.</p></main></body></html>"
        ).encode()

    def grant(self, case: str, request: Request) -> Reply:
        if self.refusal is not None:
            return Reply(status=self.refusal)
        self.asked.append((case, request.body))
        raw = base64.b64decode(json.loads(request.body)["public_key"])
        mine = {"sub-1": [one for one in PICTURES if one not in {"old", "turned"}]}
        names = set(mine.get(case, ["old", "turned"])) - self.withheld
        objects = [self.object(case, one, raw) for one in sorted(names)]
        answer = json.dumps({"objects": objects}).encode()
        self.site.answer("GET", f"/grants/{case}", lambda _: Reply(body=answer))
        body = json.dumps({"grant": case, "url": f"/grants/{case}"}).encode()
        return Reply(status=202, body=body)

    def object(self, case: str, name: str, raw: bytes) -> dict[str, Any]:
        kind = "heatmap" if name.startswith("map") else "rendition"
        context = Context(submission=case, slot=1, type=kind)
        sealed = seal(
            PICTURES[name], context=context, recipients=[PublicKey(kid="viewer", raw=raw)]
        )
        body = self.bodies.get(name, sealed.body)
        self.site.answer("GET", f"/blobs/{name}", lambda _: Reply(body=body))
        where = {"header": sealed.header.to_json(), "url": f"/blobs/{name}"}
        return {"id": name, "type": kind, "slot": 1, "view": "close_up", **where}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with running_site() as site:
        yield Desk(site)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Pages that complain about every word on the console: of scripts, and of the policy."""
    complaints: list[str] = []
    pages: list[Page] = []

    def make(**options: Any) -> Page:
        page = browser.new_page(**{"viewport": WIDE, "reduced_motion": "reduce"} | options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()
    # The last is about these tests, which read the pixels that are shown.
    expected = ("Failed to load resource", "sealed object refused", "Canvas2D: Multiple readback")
    assert [line for line in complaints if not line.startswith(expected)] == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()


def show(page: Page, desk: Desk) -> None:
    page.goto(f"{desk.site.url}/desk.html")
    expect(page.locator(STATUS)).to_have_text("The photos are open.")


def pane(page: Page, name: str) -> Locator:
    return page.locator(f'figure[data-object="{name}"]')


def canvas(page: Page, name: str) -> Locator:
    """What takes the focus, the keys and the pointer."""
    return pane(page, name).get_by_role("application")


def zoom(page: Page, name: str) -> float:
    return float(pane(page, name).locator("[data-zoom-shown]").inner_text().rstrip(TIMES))


def await_zoom(page: Page, name: str, wanted: float) -> None:
    expect(pane(page, name).locator("[data-zoom-shown]")).to_have_text(f"{wanted:.1f}{TIMES}")


def colour(page: Page, name: str, x: float, y: float) -> tuple[int, ...]:
    """The pixel at this share of the frame's width and height."""
    found = pane(page, name).evaluate(
        """(figure, [x, y]) => {
            const canvas = figure.querySelector('.openseadragon-canvas canvas');
            const context = canvas.getContext('2d');
            const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
            return [...context.getImageData(...at, 1, 1).data.slice(0, 3)];
        }""",
        [x, y],
    )
    return tuple(found)


def await_colour(
    page: Page, name: str, place: tuple[float, float], wanted: tuple[int, ...]
) -> None:
    for _ in range(100):
        if all(abs(a - b) < 12 for a, b in zip(colour(page, name, *place), wanted, strict=True)):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{name} shows {colour(page, name, *place)} at {place}, not {wanted}")


def click_at(page: Page, name: str, x: float, y: float) -> None:
    """Click at this share of the frame; apart from other clicks, so that none is a double click."""
    box = canvas(page, name).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.wait_for_timeout(350)


def tools_work(page: Page) -> bool:
    return page.locator("[data-tools]").get_attribute("disabled") is None


def do(page: Page, action: str) -> None:
    page.click(f'[data-do="{action}"]')


# Opening


def test_the_photos_open_side_by_side_and_the_tools_with_them(page: Page, desk: Desk) -> None:
    show(page, desk)

    boxes = [pane(page, name).bounding_box() for name in ("far", "near", "lens")]
    assert len({box["y"] for box in boxes if box}) == 1
    await_colour(page, "far", (0.5, 0.5), YELLOW)
    await_colour(page, "near", (0.25, 0.25), RED)
    await_colour(page, "lens", (0.75, 0.75), YELLOW)
    assert tools_work(page)
    assert [case for case, _ in desk.asked] == ["sub-1"]


def test_no_photo_gets_an_address_that_anything_else_could_load(page: Page, desk: Desk) -> None:
    page.add_init_script(
        "window.made = []; URL.createObjectURL = (one) => { window.made.push(one); return ''; }"
    )
    show(page, desk)
    await_colour(page, "near", (0.25, 0.25), RED)
    assert page.evaluate("window.made") == []
    assert page.locator("img").count() == 0


def test_nothing_moves_while_the_photos_open(page: Page, desk: Desk) -> None:
    page.add_init_script(
        """window.shifts = []; new PerformanceObserver((list) => window.shifts.push(
            ...list.getEntries().map((one) => one.value))).observe(
            {type: 'layout-shift', buffered: true});"""
    )
    show(page, desk)
    page.wait_for_timeout(300)
    assert sum(page.evaluate("window.shifts")) == 0


def test_a_photo_that_fails_its_check_is_named_and_the_others_are_shown(
    page: Page, desk: Desk
) -> None:
    desk.bodies["near"] = bytes(500)
    page.goto(f"{desk.site.url}/desk.html")
    expect(page.locator(STATUS)).to_contain_text("failed its safety check")
    expect(pane(page, "near")).to_contain_text("failed its safety check")
    expect(pane(page, "lens")).to_have_attribute("data-shown", "photo")
    await_colour(page, "lens", (0.75, 0.75), YELLOW)
    assert pane(page, "near").locator("canvas").count() == 0
    assert tools_work(page)


def test_a_photo_that_was_replaced_meanwhile_says_what_to_do(page: Page, desk: Desk) -> None:
    desk.withheld = {"far"}
    page.goto(f"{desk.site.url}/desk.html")
    expect(pane(page, "far")).to_contain_text("Load the page again")
    expect(pane(page, "lens")).to_have_attribute("data-shown", "photo")
    await_colour(page, "lens", (0.75, 0.75), YELLOW)


@pytest.mark.parametrize(("status", "words"), [(403, "may not see"), (503, "just now")])
def test_a_refusal_is_put_into_words_and_can_be_tried_again(
    page: Page, desk: Desk, status: int, words: str
) -> None:
    desk.refusal = status
    page.goto(f"{desk.site.url}/desk.html")
    expect(page.locator(STATUS)).to_contain_text(words)
    assert not tools_work(page)
    desk.refusal = None
    page.click("button:text('Try again')")
    expect(page.locator(STATUS)).to_have_text("The photos are open.")


def test_a_page_that_is_left_holds_no_photo_and_opens_them_anew_on_the_way_back(
    page: Page, desk: Desk
) -> None:
    show(page, desk)
    page.click('[data-opens="compare"]')
    page.select_option("[data-visit-choice]", "sub-0")
    expect(pane(page, "old")).to_have_attribute("data-shown", "photo")
    kept = page.evaluate_handle(
        "[...document.querySelectorAll('[data-layer]')].map((one) => one.getContext('2d'))"
    )

    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    assert page.locator("canvas").count() == 0
    assert page.locator("[data-shown]").count() == 0
    assert not tools_work(page)
    assert kept.evaluate("all => all.map(({ canvas }) => canvas.width)") == [0, 0]

    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("[data-shown]")).to_have_count(3)
    assert pane(page, "old").count() == 0
    keys = {body for _, body in desk.asked}
    assert len(keys) == len(desk.asked) == 3


def test_without_scripts_the_page_says_so_and_offers_no_dead_button(
    new_page: Callable[..., Page], desk: Desk
) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{desk.site.url}/desk.html")
    assert "Pictures need JavaScript" in page.locator("noscript").inner_html()
    assert not tools_work(page)
    assert desk.asked == []


# Looking


def test_zoom_move_and_turn_work_by_buttons_on_the_active_photo(page: Page, desk: Desk) -> None:
    show(page, desk)
    canvas(page, "near").focus()

    do(page, "zoom-in")
    await_zoom(page, "near", 1.4)
    await_zoom(page, "far", 1.0)
    do(page, "zoom-in")
    await_zoom(page, "near", 2.0)
    for _ in range(6):
        do(page, "left")
        do(page, "up")
    await_colour(page, "near", (0.9, 0.9), RED)
    do(page, "fit")
    await_zoom(page, "near", 1.0)
    await_colour(page, "near", (0.9, 0.9), YELLOW)
    do(page, "turn")
    await_colour(page, "near", (0.6, 0.3), RED)
    do(page, "reset")
    await_colour(page, "near", (0.25, 0.25), RED)


def test_every_tool_of_the_pointer_has_a_key(page: Page, desk: Desk) -> None:
    show(page, desk)
    canvas(page, "near").focus()
    expect(pane(page, "near")).to_have_class("dq-pane dq-pane--active")

    for key in ("+", "+", *["ArrowRight"] * 6, *["ArrowDown"] * 6):
        page.keyboard.press(key)
    await_zoom(page, "near", 2.0)
    await_colour(page, "near", (0.1, 0.1), YELLOW)
    page.keyboard.press("-")
    await_zoom(page, "near", 1.4)
    page.keyboard.press("0")
    await_zoom(page, "near", 1.0)
    page.keyboard.press("r")
    await_colour(page, "near", (0.6, 0.3), RED)
    page.keyboard.press("e")
    expect(pane(page, "near")).to_have_class("dq-pane dq-pane--active dq-pane--large")
    assert page.evaluate("window.scrollY") == 0


def test_keys_that_the_viewer_does_not_know_go_on_to_the_page(page: Page, desk: Desk) -> None:
    show(page, desk)
    page.evaluate(
        "window.keys = []; document.addEventListener('keydown', (one) => keys.push(one.key))"
    )
    canvas(page, "near").focus()
    for key in ("j", "+", "n", "?"):
        page.keyboard.press(key)
    assert page.evaluate("keys") == ["j", "n", "?"]


def test_the_wheel_scrolls_the_page_until_the_photo_has_the_focus(page: Page, desk: Desk) -> None:
    page.set_viewport_size({"width": 1280, "height": 420})
    show(page, desk)
    canvas(page, "near").hover()
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(200)
    assert zoom(page, "near") == 1.0

    canvas(page, "near").focus()
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(200)
    assert zoom(page, "near") > 1.0


def test_dragging_pans_and_two_fingers_zoom(new_page: Callable[..., Page], desk: Desk) -> None:
    page = new_page(has_touch=True)
    show(page, desk)
    box = canvas(page, "near").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.4 * box["width"], y + 0.4 * box["height"], steps=4)
    page.mouse.up()
    await_colour(page, "near", (0.75, 0.75), RED)

    fingers = page.context.new_cdp_session(page)
    for kind, apart in [("Start", 20), ("Move", 40), ("Move", 60), ("Move", 80)]:
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(200)
    assert zoom(page, "near") > 1.5


def test_brightness_and_contrast_are_the_active_photos_own(page: Page, desk: Desk) -> None:
    show(page, desk)
    canvas(page, "lens").focus()
    page.click('[data-opens="light"]')
    page.locator('[data-light="brightness"]').fill("150")
    page.locator('[data-light="contrast"]').fill("120")

    light = "figure => figure.querySelector('.openseadragon-canvas canvas').style.filter"
    assert pane(page, "lens").evaluate(light) == "brightness(150%) contrast(120%)"
    assert pane(page, "near").evaluate(light) == ""
    maps = pane(page, "lens").locator("[data-layer]")
    assert {one.evaluate("one => getComputedStyle(one).filter") for one in maps.all()} == {"none"}

    canvas(page, "near").focus()
    expect(page.locator('[data-light="brightness"]')).to_have_value("100")
    canvas(page, "lens").focus()
    expect(page.locator('[data-light="brightness"]')).to_have_value("150")
    do(page, "usual-light")
    assert pane(page, "lens").evaluate(light) == ""


def test_a_photo_is_enlarged_and_the_others_stay_beside_it(page: Page, desk: Desk) -> None:
    show(page, desk)
    before = canvas(page, "near").bounding_box()
    canvas(page, "near").focus()
    do(page, "enlarge")
    after = canvas(page, "near").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > 2.5 * before["width"]
    await_colour(page, "near", (0.25, 0.25), RED)
    expect(canvas(page, "far")).to_be_visible()
    expect(page.locator('[data-do="enlarge"]')).to_have_attribute("aria-pressed", "true")


def test_the_viewer_fills_the_screen_and_comes_back(page: Page, desk: Desk) -> None:
    show(page, desk)
    do(page, "full-screen")
    button = page.locator('[data-do="full-screen"]')
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.fullscreenElement.matches('[data-desk-viewer]')")
    box = canvas(page, "near").bounding_box()
    assert box is not None
    assert box["y"] < 200
    do(page, "full-screen")
    expect(button).to_have_attribute("aria-pressed", "false")


# Heat-maps


def opacities(page: Page) -> dict[str, str]:
    layers = page.locator("[data-layer]").all()
    return {
        str(one.get_attribute("data-layer")): one.evaluate("e => e.style.opacity") for one in layers
    }


def test_each_heat_map_is_named_can_be_weakened_and_switched_off(page: Page, desk: Desk) -> None:
    show(page, desk)
    assert opacities(page) == {"map1": "0.6", "map2": "0"}

    page.get_by_label("Melanocytic nevus").check()
    page.locator("[data-opacity]").fill("25")
    assert opacities(page) == {"map1": "0", "map2": "0.25"}
    page.get_by_label("Off").check()
    assert opacities(page) == {"map1": "0", "map2": "0"}
    expect(page.locator("[data-opacity]")).to_be_disabled()

    canvas(page, "lens").focus()
    page.keyboard.press("h")
    assert opacities(page) == {"map1": "0.25", "map2": "0"}


def test_a_heat_map_lies_on_its_photo_also_when_that_is_zoomed(page: Page, desk: Desk) -> None:
    show(page, desk)
    canvas(page, "lens").focus()
    frame = canvas(page, "lens").bounding_box()
    heat = page.locator('[data-layer="map1"]')
    assert frame is not None
    before = heat.bounding_box()
    assert before is not None
    assert before["width"] == pytest.approx(frame["width"], abs=2)
    page.keyboard.press("+")
    await_zoom(page, "lens", 1.4)
    after = heat.bounding_box()
    assert after is not None
    assert after["width"] == pytest.approx(1.4 * before["width"], abs=3)


@pytest.mark.parametrize("layers", [(), (("Melanoma", "map1"),)])
def test_a_photo_may_have_no_heat_map_or_one(
    page: Page, desk: Desk, layers: tuple[tuple[str, str], ...]
) -> None:
    desk.photos = [photo("near", "close_up", *layers)]
    show(page, desk)
    assert page.locator("[data-layer]").count() == len(layers)
    assert page.locator("[data-layers]").count() == len(layers)
    canvas(page, "near").focus()
    page.keyboard.press("h")
    await_colour(page, "near", (0.25, 0.25), RED)


# Measuring


def mark_scale(page: Page, name: str, mm: str = "10") -> None:
    """Half the photo's width is `mm` long."""
    page.click('[data-opens="measure"]')
    page.locator("[data-scale-length]").fill(mm)
    page.click('[data-measure="scale"]')
    click_at(page, name, 0.25, 0.5)
    expect(page.locator(MEASURED)).to_contain_text("other end")
    click_at(page, name, 0.75, 0.5)


def test_two_marks_on_a_ruler_give_a_scale_and_two_more_a_length(page: Page, desk: Desk) -> None:
    show(page, desk)
    mark_scale(page, "near")
    expect(page.locator(MEASURED)).to_have_text("Close-up: scale 10 mm.")

    page.click('[data-measure="distance"]')
    click_at(page, "near", 0.1, 0.2)
    click_at(page, "near", 0.35, 0.2)
    expect(page.locator(MEASURED)).to_contain_text("measured 5.0 mm")
    expect(pane(page, "near").locator(".dq-marks__words").first).to_have_text("10 mm")

    # It is the photo that is measured, whatever part of it is shown.
    page.click('[data-measure="distance"]')
    canvas(page, "near").focus()
    page.keyboard.press("+")
    await_zoom(page, "near", 1.4)
    page.click('[data-measure="distance"]')
    click_at(page, "near", 0.5, 0.5)
    click_at(page, "near", 0.5, 0.8)
    expect(page.locator(MEASURED)).to_contain_text("measured 5.0 mm, 3.2 mm")
    page.click('[data-measure="undo"]')
    expect(page.locator(MEASURED)).to_have_text("Close-up: scale 10 mm; measured 5.0 mm.")
    page.click('[data-measure="clear"]')
    expect(page.locator(MEASURED)).to_have_text("Close-up has no marks.")
    assert pane(page, "near").locator(".dq-marks *").count() == 0


def test_a_new_scale_corrects_the_lengths_that_were_measured(page: Page, desk: Desk) -> None:
    show(page, desk)
    mark_scale(page, "near")
    page.click('[data-measure="distance"]')
    click_at(page, "near", 0.1, 0.2)
    click_at(page, "near", 0.35, 0.2)
    page.locator("[data-scale-length]").fill("23,25")
    page.click('[data-measure="scale"]')
    click_at(page, "near", 0.25, 0.5)
    click_at(page, "near", 0.75, 0.5)
    expect(page.locator(MEASURED)).to_have_text("Close-up: scale 23.25 mm; measured 11.6 mm.")


def test_measuring_needs_no_pointer(page: Page, desk: Desk) -> None:
    show(page, desk)
    page.click('[data-opens="measure"]')
    canvas(page, "near").focus()
    page.click('[data-measure="scale"]')
    canvas(page, "near").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    expect(page.locator(MEASURED)).to_have_text("Close-up: scale 10 mm.")
    page.click('[data-measure="distance"]')
    page.click('[data-measure="middle"]')
    canvas(page, "near").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    expect(page.locator(MEASURED)).to_contain_text("measured 5.0 mm")
    page.keyboard.press("Escape")
    expect(page.locator('[data-measure="distance"]')).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("length", ["", "0", "-3", "many", "99999"])
def test_a_length_that_is_none_is_asked_for_again(page: Page, desk: Desk, length: str) -> None:
    show(page, desk)
    page.click('[data-opens="measure"]')
    page.locator("[data-scale-length]").fill(length)
    page.click('[data-measure="scale"]')
    expect(page.locator(MEASURED)).to_contain_text("in millimetres first")
    expect(page.locator("[data-scale-length]")).to_be_focused()


def test_what_cannot_be_measured_is_said(page: Page, desk: Desk) -> None:
    show(page, desk)
    page.click('[data-opens="measure"]')
    page.click('[data-measure="distance"]')
    expect(page.locator(MEASURED)).to_contain_text("has no scale yet")
    page.click('[data-measure="scale"]')
    click_at(page, "near", 0.5, 0.5)
    click_at(page, "near", 0.51, 0.5)
    expect(page.locator(MEASURED)).to_contain_text("too near")


# Earlier visits


def compare(page: Page, name: str = "near") -> None:
    page.click('[data-opens="compare"]')
    page.select_option("[data-compare-photo]", name)
    page.select_option("[data-visit-choice]", "sub-0")
    expect(page.locator(COMPARED)).to_contain_text("Both photos move together")


def test_an_earlier_visit_is_opened_when_it_is_chosen_and_moves_along(
    page: Page, desk: Desk
) -> None:
    show(page, desk)
    assert [case for case, _ in desk.asked] == ["sub-1"]
    compare(page)
    assert [case for case, _ in desk.asked] == ["sub-1", "sub-0"]
    expect(pane(page, "old")).to_contain_text("Close-up, 5 March 2026")
    await_colour(page, "old", (0.25, 0.25), RED)

    canvas(page, "near").focus()
    for key in ("+", "+", *["ArrowLeft"] * 6, *["ArrowUp"] * 6):
        page.keyboard.press(key)
    await_colour(page, "near", (0.9, 0.9), RED)
    await_colour(page, "old", (0.9, 0.9), RED)
    await_zoom(page, "old", 2.0)
    canvas(page, "old").focus()
    page.keyboard.press("0")
    await_zoom(page, "near", 1.0)
    await_colour(page, "near", (0.75, 0.25), GREEN)

    page.get_by_label("Move together").uncheck()
    page.keyboard.press("+")
    canvas(page, "old").focus()
    page.keyboard.press("+")
    page.wait_for_timeout(200)
    assert zoom(page, "near") == 1.0


def test_two_points_align_photos_that_were_taken_turned(page: Page, desk: Desk) -> None:
    desk.visits = [visit("sub-0", photo("turned", "close_up"))]
    show(page, desk)
    compare(page)
    await_colour(page, "turned", (0.6, 0.3), RED)

    page.click('[data-align="points"]')
    expect(page.locator(COMPARED)).to_have_text("Mark point 1 in: Close-up.")
    click_at(page, "near", 0.5, 0.5)
    click_at(page, "near", 0.75, 0.5)
    expect(page.locator(COMPARED)).to_contain_text("Mark point 1 in: Close-up, 5 March 2026.")
    click_at(page, "near", 0.25, 0.5)
    expect(page.locator(COMPARED)).to_contain_text("Both points are marked")
    click_at(page, "turned", 0.5, 0.5)
    click_at(page, "turned", 0.5, 0.51)
    expect(page.locator(COMPARED)).to_contain_text("too near")
    # To the right today was downwards then; the frame shows the upright photo at 3/4 of its size.
    click_at(page, "turned", 0.5, 0.75)
    expect(page.locator(COMPARED)).to_have_text("The photos are aligned by your two points.")

    for place, wanted in [
        ((0.4, 0.4), RED),
        ((0.6, 0.4), GREEN),
        ((0.4, 0.6), BLUE),
        ((0.6, 0.6), YELLOW),
    ]:
        await_colour(page, "near", place, wanted)
        await_colour(page, "turned", place, wanted)
    assert pane(page, "near").locator(".dq-marks__point").count() == 0


def test_a_visit_is_put_away_again_and_another_photo_compared(page: Page, desk: Desk) -> None:
    show(page, desk)
    compare(page)
    page.select_option("[data-compare-photo]", "lens")
    expect(page.locator(COMPARED)).to_contain_text("no photo of the same kind")
    expect(pane(page, "old")).to_have_count(1)
    assert [case for case, _ in desk.asked] == ["sub-1", "sub-0"]
    page.select_option("[data-visit-choice]", "")
    expect(page.locator(COMPARED)).to_have_text("No earlier visit is shown.")
    expect(pane(page, "old")).to_have_count(0)
    canvas(page, "near").focus()
    page.keyboard.press("+")
    await_zoom(page, "near", 1.4)


def test_a_visit_that_is_refused_can_be_tried_again(page: Page, desk: Desk) -> None:
    show(page, desk)
    desk.refusal = 403
    page.click('[data-opens="compare"]')
    page.select_option("[data-visit-choice]", "sub-0")
    expect(page.locator(COMPARED)).to_contain_text("may not see")
    desk.refusal = None
    page.click("button:text('Try again')")
    expect(page.locator(COMPARED)).to_contain_text("no photo of the same kind")


def test_without_earlier_visits_nothing_is_offered(page: Page, desk: Desk) -> None:
    desk.visits = []
    show(page, desk)
    assert page.locator('[data-opens="compare"]').count() == 0


# For everybody


def test_a_button_under_the_pointer_can_be_read_while_it_has_the_focus(
    page: Page, desk: Desk
) -> None:
    show(page, desk)
    do(page, "zoom-in")
    button = page.locator('[data-do="zoom-in"]')
    assert button.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 235, 59)"
    assert button.evaluate("one => getComputedStyle(one).color") == "rgb(33, 43, 50)"


@pytest.mark.parametrize("width", [360, 820, 1280])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    new_page: Callable[..., Page], desk: Desk, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 900}, bypass_csp=True)
    show(page, desk)
    for panel in ("light", "measure", "compare"):
        page.click(f'[data-opens="{panel}"]')
    page.select_option("[data-visit-choice]", "sub-0")
    expect(pane(page, "old")).to_have_attribute("data-shown", "photo")

    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    sizes = page.locator("[data-desk-viewer] button:visible").evaluate_all(
        "all => all.map((one) => [one.offsetWidth, one.offsetHeight])"
    )
    assert min(min(size) for size in sizes) >= 24


def test_on_a_touch_screen_buttons_are_large(new_page: Callable[..., Page], desk: Desk) -> None:
    page = new_page(viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True)
    show(page, desk)
    heights = page.locator("[data-desk-viewer] button:visible").evaluate_all(
        "all => all.map((one) => one.offsetHeight)"
    )
    assert min(heights) >= 44


def test_who_wants_no_motion_gets_none(page: Page, desk: Desk) -> None:
    show(page, desk)
    canvas(page, "near").focus()
    page.keyboard.press("+")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert zoom(page, "near") == 1.4
