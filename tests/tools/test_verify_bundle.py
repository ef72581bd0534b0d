"""The command finds every script that a server changed, and another root key."""

import base64

import pytest
from flask import Flask

from clinic.epoch_key import root_fingerprint
from tests.world import World
from tools import verify_bundle
from tools.verify_bundle import Fetch, NotDeliveredError, main, verify
from web.script_bundle import MANIFEST_FILE, ROOT_KEY_PATH, STATIC, bundle_hash, root_key_script

EXPECTED = (STATIC / MANIFEST_FILE).read_text(encoding="ascii")


@pytest.fixture
def fetch(app: Flask) -> Fetch:
    """What this portal delivers."""

    def fetched(path: str) -> bytes:
        with app.test_client().get(path) as answer:
            if answer.status_code != 200:
                raise NotDeliveredError(f"{answer.status_code} for {path}")
            return answer.data

    return fetched


def changed(fetch: Fetch, path: str, content: bytes) -> Fetch:
    return lambda asked: content if asked == path else fetch(asked)


def test_an_honest_portal_delivers_this_checkout_s_scripts(fetch: Fetch, world: World) -> None:
    verdict = verify(fetch, EXPECTED)
    assert verdict.differing == ()
    assert verdict.whole == bundle_hash(EXPECTED)
    assert verdict.fingerprint == root_fingerprint(world.root_public_key)
    assert verdict.is_good(fingerprint=root_fingerprint(world.root_public_key))
    assert not verdict.is_good(fingerprint="0" * 64)


def test_one_changed_script_is_named(fetch: Fetch) -> None:
    path = "js/dseal.js"
    tampered = changed(fetch, f"/static/{path}", fetch(f"/static/{path}") + b"\n")
    verdict = verify(tampered, EXPECTED)
    assert verdict.differing == (path,)
    assert verdict.whole != bundle_hash(EXPECTED)
    assert not verdict.is_good(fingerprint=verdict.fingerprint)


def test_another_root_has_another_fingerprint(fetch: Fetch, world: World) -> None:
    verdict = verify(changed(fetch, ROOT_KEY_PATH, root_key_script(bytes(32))), EXPECTED)
    assert verdict.fingerprint == root_fingerprint(bytes(32))
    assert not verdict.is_good(fingerprint=root_fingerprint(world.root_public_key))


@pytest.mark.parametrize("more", [b"", b"nothing", b"fetch('/evil')"])
def test_anything_else_beside_the_key_is_refused(fetch: Fetch, world: World, more: bytes) -> None:
    script = root_key_script(world.root_public_key) + more if more else b""
    verdict = verify(changed(fetch, ROOT_KEY_PATH, script), EXPECTED)
    assert verdict.fingerprint is None
    assert not verdict.is_good(fingerprint=None)


def test_the_command_says_the_same_or_what_differs(
    fetch: Fetch, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = root_fingerprint(world.root_public_key)
    monkeypatch.setattr(verify_bundle, "fetch_from", lambda _: fetch)
    assert main(["https://derm.example", "--fingerprint", fingerprint]) == 0
    assert "the same as in this checkout" in capsys.readouterr().out

    assert main(["https://derm.example"]) == 0
    assert "Compare it with the published one" in capsys.readouterr().out

    assert main(["https://derm.example", "--fingerprint", "0" * 64]) == 1
    assert "DIFFERENT from the one given" in capsys.readouterr().out

    evil = changed(fetch, "/static/js/upload.js", b"alert(1)")
    monkeypatch.setattr(verify_bundle, "fetch_from", lambda _: evil)
    assert main(["https://derm.example"]) == 1
    assert "js/upload.js  DIFFERENT" in capsys.readouterr().out


def test_without_an_address_the_hashes_of_this_checkout_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{EXPECTED}Whole bundle: {bundle_hash(EXPECTED)}\n"


def test_a_server_that_is_away_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1"]) == 1
    assert "cannot be reached" in capsys.readouterr().out


def test_the_key_in_the_script_is_found_as_the_browser_reads_it(world: World) -> None:
    script = root_key_script(world.root_public_key)
    assert base64.b64encode(world.root_public_key) in script
