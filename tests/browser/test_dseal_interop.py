"""Each language opens what the other sealed, and each refuses every way to tamper with it."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
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
    EnvelopeError,
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


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


TAMPERED_BODIES = {
    "a flipped bit in the first chunk": lambda body: flipped(body, 0),
    "a flipped bit in a middle tag": lambda body: flipped(body, 2 * SEALED_CHUNK - 1),
    "a flipped bit in the last tag": lambda body: flipped(body, -1),
    "a dropped last chunk": lambda body: body[: 2 * SEALED_CHUNK],
    "a cut inside a chunk": lambda body: body[: SEALED_CHUNK + 500],
    "two swapped chunks": lambda body: (
        body[SEALED_CHUNK : 2 * SEALED_CHUNK] + body[:SEALED_CHUNK] + body[2 * SEALED_CHUNK :]
    ),
    "appended bytes": lambda body: body + b"PK\x03\x04",
}


@pytest.mark.parametrize("case", TAMPERED_BODIES)
def test_a_tampered_body_is_refused_by_the_browser(page: Page, sealed: Sealed, case: str) -> None:
    body = TAMPERED_BODIES[case](sealed.body)
    assert open_in_browser(page, sealed.header, body) == {"reason": "broken-chunk"}


@pytest.mark.parametrize("case", TAMPERED_BODIES)
def test_a_tampered_body_from_the_browser_is_refused_by_python(
    from_browser: Sealed, case: str
) -> None:
    with pytest.raises(envelope.BrokenChunk):
        open_in_python(replace(from_browser, body=TAMPERED_BODIES[case](from_browser.body)))


@pytest.mark.parametrize("size", [0, TAG_SIZE - 1, SEALED_CHUNK + TAG_SIZE])
def test_a_body_that_no_sealing_makes_is_malformed_in_the_browser(
    page: Page, sealed: Sealed, size: int
) -> None:
    opened = open_in_browser(page, sealed.header, sealed.body[:size])
    assert opened == {"reason": "malformed"}


@pytest.mark.parametrize(
    "expected",
    [replace(PHOTO, submission="sub-2"), replace(PHOTO, slot=1), replace(PHOTO, type="heatmap")],
)
def test_a_replay_as_another_object_is_refused_in_both(
    page: Page, sealed: Sealed, from_browser: Sealed, expected: Context
) -> None:
    refused = open_in_browser(page, sealed.header, sealed.body, expected=expected)
    assert refused == {"reason": "wrong-context"}
    with pytest.raises(envelope.WrongContext):
        open_in_python(from_browser, expected=expected)


def test_an_edited_context_is_refused_in_both(
    page: Page, sealed: Sealed, from_browser: Sealed
) -> None:
    expected = replace(PHOTO, submission="sub-2")
    edited = replace(sealed.header, core=expected.to_core())
    refused = open_in_browser(page, edited, sealed.body, expected=expected)
    assert refused == {"reason": "cannot-unwrap"}
    edited = replace(from_browser.header, core=expected.to_core())
    with pytest.raises(envelope.CannotUnwrap):
        open_in_python(replace(from_browser, header=edited), expected=expected)


def test_a_transplanted_key_is_refused_in_both(
    page: Page, viewer: PublicKey, sealed: Sealed, from_browser: Sealed
) -> None:
    elsewhere = seal(
        b"naevus", context=replace(PHOTO, slot=1), recipients=[viewer, EPOCH_PUBLIC]
    ).header
    again = seal(b"naevus", context=PHOTO, recipients=[viewer, EPOCH_PUBLIC]).header
    for donor, reason, error in (
        (elsewhere, "cannot-unwrap", envelope.CannotUnwrap),
        (again, "commitment-mismatch", envelope.CommitmentMismatch),
    ):
        header = sealed.header.with_recipients(donor.recipient("viewer"))
        assert open_in_browser(page, header, sealed.body) == {"reason": reason}
        header = from_browser.header.with_recipients(donor.recipient("epoch-1"))
        with pytest.raises(error):
            open_in_python(replace(from_browser, header=header))


def test_a_key_wrapped_with_another_info_is_refused_in_the_browser(
    page: Page, viewer: PublicKey, sealed: Sealed
) -> None:
    wrapped = envelope._wrap(bytes(32), bytes(32), viewer)
    header = sealed.header.with_recipients(wrapped)
    assert open_in_browser(page, header, sealed.body) == {"reason": "cannot-unwrap"}


def test_a_second_file_key_is_refused_in_the_browser(
    page: Page, viewer: PublicKey, sealed: Sealed
) -> None:
    second = envelope._wrap(sealed.header.salt, bytes(32), viewer)
    header = sealed.header.with_recipients(second)
    assert open_in_browser(page, header, sealed.body) == {"reason": "commitment-mismatch"}


def test_a_key_id_that_is_not_listed_is_refused_in_the_browser(page: Page, sealed: Sealed) -> None:
    refused = open_in_browser(page, sealed.header, sealed.body, kid="somebody")
    assert refused == {"reason": "unknown-recipient"}


def test_a_flipped_bit_anywhere_in_the_header_is_refused_by_the_browser(
    page: Page, viewer: PublicKey
) -> None:
    sealed = seal(b"lesion", context=PHOTO, recipients=[viewer])
    text = sealed.header.to_json()
    for at in range(len(text)):
        changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        assert "reason" in open_in_browser(page, changed, sealed.body), changed


GRAMMAR_CASES: list[dict[str, Any]] = [
    {"core": "{}"},
    {"core": PHOTO.to_core().replace("dseal/1", "dseal/2")},
    {"core": PHOTO.to_core().replace('"aead":2', '"aead":1')},
    {"core": PHOTO.to_core().replace("1048576", "65536")},
    {"core": PHOTO.to_core().replace("photo", "thumbnail")},
    {"core": PHOTO.to_core().replace('"slot":0', '"slot":-1')},
    {"core": PHOTO.to_core().replace("sub-1", "a/b")},
    {"core": PHOTO.to_core()[:-1] + ',"extra":1}'},
    {"commit": "AAAA"},
    {"commit": 7},
    {"recipients": []},
    {"recipients": None},
    {"recipients": [{"kid": "viewer", "kem": 16, "sealed": "A" * 108}]},
    {"recipients": [{"kid": "viewer", "kem": 32, "sealed": "AAAA"}]},
    {"recipients": [{"kid": "viewer", "kem": 32, "alg": "A256GCM", "sealed": "AAAA"}]},
    {"extra": 1},
]


@pytest.mark.parametrize("changes", GRAMMAR_CASES)
def test_a_header_outside_the_grammar_is_refused_in_both(
    page: Page, sealed: Sealed, changes: dict[str, Any]
) -> None:
    text = json.dumps(json.loads(sealed.header.to_json()) | changes)
    assert call(page, "parseHeader", text) == {"reason": "malformed"}
    with pytest.raises(EnvelopeError):
        envelope.parse_header(text)


def test_a_repeated_recipient_is_refused_in_the_browser(page: Page, sealed: Sealed) -> None:
    fields = json.loads(sealed.header.to_json())
    text = json.dumps(fields | {"recipients": fields["recipients"] * 2})
    assert call(page, "parseHeader", text) == {"reason": "malformed"}


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
