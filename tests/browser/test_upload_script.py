import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from clinic.envelope import Context, open_body, parse_container, unwrap
from clinic.epoch_key import EpochKey, sign_epoch_key
from tests.browser.sealing_site import PAGES, Reply, Request, Site, running_site
from web.script_bundle import ROOT_KEY_PATH, root_key_script

pytestmark = pytest.mark.browser

EPOCH = X25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MARKER = b"the-patients-home"
STATUS = "[data-upload-status]"


def jpeg(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = MARKER.decode()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, format="JPEG", exif=exif)
    return out.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


SHARP = jpeg(noise(800, 600).resize((1800, 1350), Image.Resampling.NEAREST))
SMALL_AND_PLAIN = jpeg(Image.new("RGB", (600, 450), (224, 172, 150)))
DARK = jpeg(Image.new("RGB", (1800, 1200), (9, 9, 9)))
BRIGHT = jpeg(Image.new("RGB", (1800, 1200), (252, 252, 252)))


def signed_epoch(*, root: Ed25519PrivateKey = ROOT, age_days: int = 0) -> str:
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1 + age_days)
    public_key = EPOCH.public_key().public_bytes_raw()
    epoch = EpochKey(
        kid="epoch-1",
        public_key=public_key,
        not_before=begin,
        not_after=begin + timedelta(days=7),
    )
    return sign_epoch_key(epoch, root).to_json()


class Portal:
    """The server's side of the form: keeps what arrived and answers as told."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answer = Reply(status=202, body=b'{"location":"/thanks"}')
        self.received: list[Request] = []
        site.answer("POST", "/cases", self.take)
        site.answer("GET", "/thanks", lambda _: Reply(type="text/html", body=b"<p>Received</p>"))
        pinned = root_key_script(ROOT.public_key().public_bytes_raw())
        site.answer("GET", ROOT_KEY_PATH, lambda _: Reply(type="text/javascript", body=pinned))
        self.show_form(signed_epoch())

    def show_form(self, epoch: str) -> None:
        page = (PAGES / "upload.html").read_text()
        page = page.replace("EPOCH", epoch.replace('"', "&quot;"))
        form = Reply(type="text/html; charset=utf-8", body=page.encode())
        self.site.answer("GET", "/upload", lambda _: form)

    def take(self, request: Request) -> Reply:
        self.received.append(request)
        return self.answer

    def parts(self, number: int = -1) -> dict[str, Message]:
        request = self.received[number]
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        message = message_from_bytes(head + request.body)
        return {
            str(part.get_param("name", header="content-disposition")): part
            for part in message.walk()
            if not part.is_multipart()
        }


@pytest.fixture
def portal() -> Iterator[Portal]:
    with running_site() as site:
        yield Portal(site)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    yield page
    page.close()
    # A browser reports each answer above 399 by itself; everything else is ours.
    assert [line for line in complaints if "Failed to load resource" not in line] == []


def choose(page: Page, view: str, data: bytes, *, kind: str = "image/jpeg") -> None:
    file: Any = {"name": "IMG_1.jpg", "mimeType": kind, "buffer": data}
    page.set_input_files(f'[data-view="{view}"]', file)


def open_form(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.site.url}/upload")


def plaintext_of(part: Message, *, slot: int) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    sealed = parse_container(payload)
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    expected = Context(submission="sub-1", slot=slot, type="photo")
    return open_body(sealed.header, sealed.body, file_key=file_key, expected=expected)


def test_photos_leave_the_browser_sealed_and_without_metadata(page: Page, portal: Portal) -> None:
    open_form(page, portal)
    choose(page, "overview", SHARP)
    choose(page, "close_up", SMALL_AND_PLAIN)
    page.click("text=Send")
    page.wait_for_url("**/thanks")

    parts = portal.parts()
    assert set(parts) == {"csrf_token", "age", "submission", "sealed_overview", "sealed_close_up"}
    assert parts["sealed_overview"].get_content_type() == "application/octet-stream"
    assert portal.received[0].headers["accept"] == "application/json"
    # Long enough that no random ciphertext holds them by chance.
    for leak in (MARKER, b"IMG_1.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF"):
        assert leak not in portal.received[0].body
    for name, slot, size in (
        ("sealed_overview", 0, (1350, 1800)),
        ("sealed_close_up", 1, (450, 600)),
    ):
        photo = plaintext_of(parts[name], slot=slot)
        assert MARKER not in photo
        assert photo.startswith(b"\xff\xd8\xff\xe0\x00\x10JFIF")
        image = Image.open(io.BytesIO(photo))
        assert (image.format, image.size) == ("JPEG", size)
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


def test_a_photo_over_the_longest_side_is_scaled_down(page: Page, portal: Portal) -> None:
    open_form(page, portal)
    choose(page, "overview", jpeg(Image.new("RGB", (5000, 1000), (224, 172, 150))))
    page.click("text=Send")
    page.wait_for_url("**/thanks")
    photo = plaintext_of(portal.parts()["sealed_overview"], slot=0)
    assert Image.open(io.BytesIO(photo)).size == (819, 4096)


@pytest.mark.parametrize(
    ("data", "warnings"),
    [(SHARP, ""), (SMALL_AND_PLAIN, "small blurred"), (DARK, "dark"), (BRIGHT, "bright")],
)
def test_a_chosen_photo_is_shown_and_judged(
    page: Page, portal: Portal, data: bytes, warnings: str
) -> None:
    open_form(page, portal)
    choose(page, "overview", data)
    feedback = page.locator('[data-photo-feedback="overview"]')
    expect(feedback).to_have_attribute("data-warnings", warnings)
    expect(feedback).to_contain_text("You can still use" if warnings else "looks good")
    preview = page.locator('img[data-preview="overview"]')
    assert str(preview.get_attribute("src")).startswith("blob:")
    page.wait_for_function("document.querySelector('[data-preview]').naturalWidth > 0")


def test_a_double_tap_sends_once(page: Page, portal: Portal) -> None:
    open_form(page, portal)
    choose(page, "overview", SHARP)
    page.dblclick("text=Send")
    page.wait_for_url("**/thanks")
    assert len(portal.received) == 1


def test_errors_from_the_server_are_listed_and_lead_to_their_fields(
    page: Page, portal: Portal
) -> None:
    errors = [
        {"field": "age", "message": "Enter your age"},
        {"field": "sealed_overview", "message": "Add a photo <b>please</b>"},
        {"field": "", "message": "Something else"},
    ]
    portal.answer = Reply(status=422, body=json.dumps({"errors": errors}).encode())
    open_form(page, portal)
    choose(page, "overview", SHARP)
    page.click("text=Send")
    summary = page.locator("[data-error-summary]")
    expect(summary).to_be_focused()
    assert summary.locator("li").all_inner_texts() == [error["message"] for error in errors]
    summary.locator("a").first.click()
    expect(page.locator("[name=age]")).to_be_focused()
    summary.locator("a").nth(1).click()
    expect(page.locator("[name=photo_overview]")).to_be_focused()

    portal.answer = Reply(status=202, body=b'{"location":"/thanks"}')
    page.click("button:text('Send')")
    page.wait_for_url("**/thanks")


def test_after_a_lost_connection_the_very_same_photo_is_sent_again(
    page: Page, portal: Portal
) -> None:
    lost: list[bytes] = []
    open_form(page, portal)
    choose(page, "overview", SHARP)
    portal.answer = Reply(status=503)
    page.click("text=Send")
    expect(page.locator(STATUS)).to_contain_text("cannot take your case just now")

    page.route("**/cases", lambda route: (lost.append(b"x"), route.abort()))
    page.click("button:text('Try again')")
    expect(page.locator(STATUS)).to_contain_text("could not reach the server")
    assert lost == [b"x"]
    page.unroute("**/cases")
    portal.answer = Reply(status=202, body=b'{"location":"/thanks"}')
    page.click("button:text('Try again')")
    page.wait_for_url("**/thanks")
    first, last = (portal.parts(n)["sealed_overview"].get_payload() for n in (0, -1))
    assert first == last
    assert portal.parts(0)["submission"].get_payload() == "sub-1"


@pytest.mark.parametrize(
    ("epoch", "words"),
    [
        (signed_epoch(root=Ed25519PrivateKey.from_private_bytes(bytes(32))), "could not prove"),
        (signed_epoch(age_days=30), "open for too long"),
        ("{}", "could not prove"),
    ],
)
def test_nothing_is_sent_to_a_key_that_the_root_does_not_vouch_for(
    page: Page, portal: Portal, epoch: str, words: str
) -> None:
    portal.show_form(epoch)
    open_form(page, portal)
    choose(page, "overview", SHARP)
    page.click("text=Send")
    expect(page.locator(STATUS)).to_contain_text(words)
    assert portal.received == []


def test_a_file_that_is_no_photo_is_named_and_not_sent(page: Page, portal: Portal) -> None:
    open_form(page, portal)
    choose(page, "overview", b"%PDF-1.7 words", kind="application/pdf")
    expect(page.locator('[data-photo-feedback="overview"]')).to_contain_text("cannot be shown")
    page.click("text=Send")
    expect(page.locator("[data-error-summary]")).to_contain_text("One photo cannot be read")
    assert portal.received == []


@pytest.mark.parametrize(
    ("status", "words"),
    [(413, "too large"), (403, "signed out"), (400, "check your answers"), (500, "just now")],
)
def test_an_answer_without_errors_is_put_into_words(
    page: Page, portal: Portal, status: int, words: str
) -> None:
    portal.answer = Reply(status=status, type="text/html", body=b"<h1>no</h1>")
    open_form(page, portal)
    page.click("text=Send")
    expect(page.locator(STATUS)).to_contain_text(words)


def test_an_answer_that_leads_to_another_site_is_not_followed(page: Page, portal: Portal) -> None:
    portal.answer = Reply(status=202, body=b'{"location":"https://elsewhere.example/"}')
    open_form(page, portal)
    page.click("text=Send")
    expect(page.locator(STATUS)).to_contain_text("did not accept")


def test_a_browser_without_the_needed_keys_offers_the_servers_sealing(
    page: Page, portal: Portal
) -> None:
    page.add_init_script(
        "crypto.subtle.importKey = async () => {"
        " throw new DOMException('no Ed25519', 'NotSupportedError'); };"
    )
    open_form(page, portal)
    choose(page, "overview", SHARP)
    page.click("text=Send")
    expect(page.locator(STATUS)).to_contain_text("cannot encrypt photos itself")
    assert portal.received == []
    page.click("text=Send this way")
    page.wait_for_url("**/cases")
    assert "photo_overview" in portal.parts()


def test_no_script_of_the_pages_writes_to_the_browsers_storage() -> None:
    scripts = list((Path(__file__).parents[2] / "web/portal/static/js").glob("*.js"))
    assert scripts
    for script in scripts:
        text = script.read_text()
        if script.name == "keys.js":  # whether single keys work, of this browser and nobody's data
            assert text.count("localStorage") == 2
            text = text.replace("localStorage", "")
        for word in ("localStorage", "sessionStorage", "indexedDB", "document.cookie", "eval("):
            assert word not in text, script.name
