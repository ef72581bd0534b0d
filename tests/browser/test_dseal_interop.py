"""Each language opens what the other sealed; test_tampering.py has what both refuse."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from playwright.sync_api import Page

from clinic import envelope
from clinic.envelope import (
    CHUNK_SIZE,
    TAG_SIZE,
    Context,
    Header,
    PublicKey,
    Sealed,
    open_body,
    parse_container,
    seal,
    unwrap,
    wrap_with_key,
)
from clinic.epoch_key import EpochKey, SignedEpochKey, sign_epoch_key
from tests.browser.sealing_site import STATIC, running_browser, running_site

pytestmark = pytest.mark.browser

EPOCH = X25519PrivateKey.from_private_bytes(bytes(range(32)))
EPOCH_PUBLIC = PublicKey(kid="epoch-1", raw=EPOCH.public_key().public_bytes_raw())
PHOTO = Context(submission="sub-1", slot=0, type="photo")
SEALED_CHUNK = CHUNK_SIZE + TAG_SIZE
PLAINTEXT = b"".join(bytes([n]) * CHUNK_SIZE for n in range(2)) + b"the end"
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
ROOT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with running_site() as site, running_browser() as browser:
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site.url}/dseal.html")
        page.wait_for_function("window.underTest")
        yield page
        assert complaints == []


@pytest.fixture(scope="module")
def viewer(page: Page) -> PublicKey:
    raw = base64.b64decode(call(page, "newViewer")["value"])
    return PublicKey(kid="viewer", raw=raw)


@pytest.fixture(scope="module")
def sealed(viewer: PublicKey) -> Sealed:
    return seal(PLAINTEXT, context=PHOTO, recipients=[viewer])


@pytest.fixture(scope="module")
def from_browser(page: Page) -> Sealed:
    return seal_in_browser(page, PLAINTEXT)


def call(page: Page, name: str, argument: Any = None) -> dict[str, Any]:
    return page.evaluate(f"(argument) => window.underTest.{name}(argument)", argument)


def to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def seal_in_browser(page: Page, plaintext: bytes) -> Sealed:
    recipient = {"kid": EPOCH_PUBLIC.kid, "raw": to_text(EPOCH_PUBLIC.raw)}
    argument = {
        "plaintext": to_text(plaintext),
        "context": asdict(PHOTO),
        "recipients": [recipient],
    }
    return parse_container(base64.b64decode(call(page, "seal", argument)["value"]))


def open_in_browser(
    page: Page, header: Header | str, body: bytes, *, kid: str = "viewer", expected: Context = PHOTO
) -> dict[str, Any]:
    text = header if isinstance(header, str) else header.to_json()
    what = {"headerText": text, "body": to_text(body), "kid": kid, "expected": asdict(expected)}
    return call(page, "open", what)


def open_in_python(sealed: Sealed, *, expected: Context = PHOTO) -> bytes:
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    return open_body(sealed.header, sealed.body, file_key=file_key, expected=expected)


SIZES = [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 5_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_python_opens_what_the_browser_sealed(page: Page, size: int) -> None:
    plaintext = os.urandom(size)
    assert open_in_python(seal_in_browser(page, plaintext)) == plaintext


@pytest.mark.parametrize("size", SIZES)
def test_the_browser_opens_what_python_sealed(page: Page, viewer: PublicKey, size: int) -> None:
    plaintext = os.urandom(size)
    sealed = seal(plaintext, context=PHOTO, recipients=[EPOCH_PUBLIC, viewer])
    opened = open_in_browser(page, sealed.header, sealed.body)
    assert opened == {"value": to_text(plaintext)}


def test_the_browser_opens_a_rewrapped_photo_beside_a_patients_entry(
    page: Page, viewer: PublicKey, from_browser: Sealed
) -> None:
    header = from_browser.header
    file_key = unwrap(header, kid="epoch-1", private_key=EPOCH)
    granted = header.with_recipients(
        wrap_with_key(header, file_key, kid="patient-7.1", key=bytes(32)),
        envelope.wrap(header, file_key, public_key=viewer),
    )
    opened = open_in_browser(page, granted, from_browser.body)
    assert opened == {"value": to_text(PLAINTEXT)}
    refused = open_in_browser(page, granted, from_browser.body, kid="patient-7.1")
    assert refused == {"reason": "cannot-unwrap"}


def test_the_viewers_private_key_cannot_leave_the_page(page: Page, viewer: PublicKey) -> None:
    assert len(viewer.raw) == 32
    assert "InvalidAccessError" in call(page, "exportViewer")["reason"]


def test_both_languages_write_the_same_core_text(from_browser: Sealed) -> None:
    assert from_browser.header.core == PHOTO.to_core()


def test_the_browser_refuses_to_seal_to_a_useless_key(page: Page) -> None:
    argument = {
        "plaintext": "",
        "context": asdict(PHOTO),
        "recipients": [{"kid": "epoch-1", "raw": to_text(bytes(32))}],
    }
    assert call(page, "seal", argument) == {"reason": "bad-key"}


def test_the_vendored_library_is_the_one_whose_checksum_is_kept() -> None:
    folder = STATIC / "vendor" / "hpke"
    digest, name = (folder / "SHA256SUMS").read_text().split()
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


# --- the clinic's key ---


@pytest.fixture
def signed() -> SignedEpochKey:
    epoch = EpochKey(
        kid="epoch-1",
        public_key=EPOCH_PUBLIC.raw,
        not_before=MONDAY,
        not_after=MONDAY + timedelta(days=7),
    )
    return sign_epoch_key(epoch, ROOT)


def verify_in_browser(
    page: Page, text: str, *, now: datetime = MONDAY, root: Ed25519PrivateKey = ROOT
) -> dict[str, Any]:
    argument = {
        "signed": text,
        "root": to_text(root.public_key().public_bytes_raw()),
        "now": now.timestamp() * 1000,
    }
    return call(page, "verifyEpochKey", argument)


def test_the_browser_accepts_the_roots_signature(page: Page, signed: SignedEpochKey) -> None:
    verified = verify_in_browser(page, signed.to_json())
    assert verified == {"value": {"kid": "epoch-1", "raw": to_text(EPOCH_PUBLIC.raw)}}


def test_the_browser_refuses_a_key_that_the_root_did_not_sign(
    page: Page, signed: SignedEpochKey
) -> None:
    fields = json.loads(signed.to_json())
    for changes in ({"public_key": to_text(bytes(32))}, {"kid": "epoch-2"}, {"not_after": 2**40}):
        refused = verify_in_browser(page, json.dumps(fields | changes))
        assert refused == {"reason": "bad-epoch-signature"}
    stranger = Ed25519PrivateKey.generate()
    refused = verify_in_browser(page, signed.to_json(), root=stranger)
    assert refused == {"reason": "bad-epoch-signature"}


def test_the_browser_refuses_a_key_outside_its_period(page: Page, signed: SignedEpochKey) -> None:
    for now in (MONDAY - timedelta(seconds=1), MONDAY + timedelta(days=7)):
        refused = verify_in_browser(page, signed.to_json(), now=now)
        assert refused == {"reason": "outside-epoch"}


@pytest.mark.parametrize("text", ["", "null", "{}", "[]"])
def test_the_browser_refuses_an_epoch_outside_its_grammar(page: Page, text: str) -> None:
    assert verify_in_browser(page, text) == {"reason": "malformed"}
