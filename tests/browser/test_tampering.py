"""Every tampered container is refused in both languages, for the same reason."""

import base64
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from playwright.sync_api import Page

from clinic.envelope import (
    Context,
    EnvelopeError,
    PublicKey,
    Recipient,
    Sealed,
    check_context,
    open_body,
    parse_container,
    parse_header,
    seal,
    unwrap,
)
from tests.browser.sealing_site import running_browser, running_site
from tests.tampering import PHOTO, PLAINTEXT, REASONS, TAMPERINGS, Kit, Presented

pytestmark = pytest.mark.browser

PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PYTHON = PublicKey(kid="epoch-1", raw=PRIVATE.public_key().public_bytes_raw())
ELSEWHERE = replace(PHOTO, slot=1)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with running_site() as site, running_browser() as browser:
        page = browser.new_page()
        page.goto(f"{site.url}/dseal.html")
        page.wait_for_function("window.underTest")
        yield page


def call(page: Page, name: str, argument: object = None) -> dict[str, str]:
    return page.evaluate(f"(argument) => window.underTest.{name}(argument)", argument)


@pytest.fixture(scope="module")
def by_python(page: Page) -> Kit:
    """Sealed by Python to the page's key."""
    raw = base64.b64decode(call(page, "newViewer")["value"])
    viewer = PublicKey(kid="viewer", raw=raw)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    public = X25519PublicKey.from_public_bytes(raw)
    return Kit(
        sealed=seal(PLAINTEXT, context=PHOTO, recipients=[viewer]),
        again=seal(PLAINTEXT, context=PHOTO, recipients=[viewer]),
        elsewhere=seal(PLAINTEXT, context=ELSEWHERE, recipients=[viewer]),
        reader=viewer,
        wrap=lambda info, key: Recipient(
            kid=viewer.kid, kem=0x20, sealed=suite.encrypt(key, public, info)
        ),
    )


@pytest.fixture(scope="module")
def by_browser(page: Page) -> Kit:
    """Sealed by the browser to a key of Python."""

    def sealed(context: Context) -> Sealed:
        how = {
            "plaintext": text(PLAINTEXT),
            "context": asdict(context),
            "recipients": [{"kid": PYTHON.kid, "raw": text(PYTHON.raw)}],
        }
        return parse_container(base64.b64decode(call(page, "seal", how)["value"]))

    def wrap(info: bytes, key: bytes) -> Recipient:
        how = {"raw": text(PYTHON.raw), "info": text(info), "fileKey": text(key)}
        wrapped = base64.b64decode(call(page, "wrap", how)["value"])
        return Recipient(kid=PYTHON.kid, kem=0x20, sealed=wrapped)

    return Kit(
        sealed=sealed(PHOTO),
        again=sealed(PHOTO),
        elsewhere=sealed(ELSEWHERE),
        reader=PYTHON,
        wrap=wrap,
    )


def read_in_browser(page: Page, given: Presented) -> dict[str, str]:
    what = {
        "headerText": given.header,
        "body": text(given.body),
        "kid": "viewer",
        "expected": asdict(given.expected),
    }
    return call(page, "open", what)


def read_in_python(given: Presented) -> bytes:
    """In the reader's order: grammar, context, key, commitment, chunks."""
    sealed = Sealed(header=parse_header(given.header), body=given.body)
    check_context(sealed.header, expected=given.expected)
    file_key = unwrap(sealed.header, kid=PYTHON.kid, private_key=PRIVATE)
    return open_body(sealed.header, sealed.body, file_key=file_key, expected=given.expected)


def untouched(kit: Kit) -> Presented:
    return Presented(header=kit.header.to_json(), body=kit.sealed.body)


def test_untouched_each_opens_what_the_other_sealed(
    page: Page, by_python: Kit, by_browser: Kit
) -> None:
    assert read_in_browser(page, untouched(by_python)) == {"value": text(PLAINTEXT)}
    assert read_in_python(untouched(by_browser)) == PLAINTEXT


@pytest.mark.parametrize("name", TAMPERINGS)
def test_the_browser_refuses_what_python_sealed(page: Page, by_python: Kit, name: str) -> None:
    tamper, reason = TAMPERINGS[name]
    assert read_in_browser(page, tamper(by_python)) == {"reason": reason}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_python_refuses_what_the_browser_sealed(by_browser: Kit, name: str) -> None:
    tamper, reason = TAMPERINGS[name]
    with pytest.raises(EnvelopeError) as refused:
        read_in_python(tamper(by_browser))
    assert refused.type is REASONS[reason]


def test_a_flipped_bit_anywhere_in_the_header_is_refused_by_both(
    page: Page, by_python: Kit, by_browser: Kit
) -> None:
    for kit in (by_python, by_browser):
        header = kit.header.to_json()
        for at in range(len(header)):
            changed = header[:at] + chr(ord(header[at]) ^ 1) + header[at + 1 :]
            given = Presented(header=changed, body=kit.sealed.body[:100])
            if kit is by_python:
                assert "reason" in read_in_browser(page, given), changed
            else:
                with pytest.raises(EnvelopeError):
                    read_in_python(given)


def test_no_file_key_is_left_in_the_page_s_memory(page: Page, by_python: Kit) -> None:
    given = untouched(by_python)
    what = {"headerText": given.header, "body": text(given.body), "kid": "viewer"}
    opening = {**what, "expected": asdict(given.expected)}
    sealing = {
        "plaintext": text(b"lesion"),
        "context": asdict(PHOTO),
        "recipients": [{"kid": PYTHON.kid, "raw": text(PYTHON.raw)}],
    }
    for name, argument in (("open", opening), ("seal", sealing)):
        left = page.evaluate(
            "([name, argument]) => window.underTest.leftInMemory(name, argument)", [name, argument]
        )
        assert len(left["value"]) >= 3, "file key for the payload and the commitment, payload key"
        assert set(left["value"]) == {text(bytes(32))}
