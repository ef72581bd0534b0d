"""Compares the scripts that a server delivers with those of this checkout, and prints their hashes.

`python -m tools.verify_bundle https://derm.example --fingerprint HEX` says whether the server
delivers these scripts and pins the root with this fingerprint. Anybody can run it, without an
account. What it cannot see: a server that answers others otherwise. `--write` renews the manifest.
"""

import argparse
import base64
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from clinic.epoch_key import root_fingerprint
from web.script_bundle import (
    MANIFEST_FILE,
    ROOT_KEY_PATH,
    STATIC,
    bundle_hash,
    manifest,
    manifest_of,
    parse_manifest,
    root_key_script,
)

TIMEOUT_SECONDS = 20
_KEY = re.compile(rb'"([A-Za-z0-9+/]{43}=)"')

Fetch = Callable[[str], bytes]


class NotDeliveredError(Exception):
    """The server does not deliver what belongs to the bundle."""


@dataclass(frozen=True)
class Verdict:
    """What a server delivers. `differing` names the scripts that are not those of the manifest."""

    hashes: dict[str, str]
    differing: tuple[str, ...]
    whole: str
    fingerprint: str | None  # None: the pinned key is not in its form

    def is_good(self, *, fingerprint: str | None) -> bool:
        pinned = self.fingerprint is not None and fingerprint in (None, self.fingerprint)
        return not self.differing and pinned


def verify(fetch: Fetch, expected: str) -> Verdict:
    """Fetch every script of the manifest `expected`, and the root's key, and compare them.

    Raises:
        NotDeliveredError: the server cannot be reached, or does not have a script.

    """
    wanted = parse_manifest(expected)
    texts = {path: fetch(f"/static/{path}") for path in wanted}
    delivered = manifest_of(texts)
    hashes = parse_manifest(delivered)
    differing = tuple(path for path in wanted if hashes[path] != wanted[path])
    pinned = fetch(ROOT_KEY_PATH)
    return Verdict(hashes, differing, bundle_hash(delivered), _fingerprint(pinned))


def _fingerprint(script: bytes) -> str | None:
    """Of the key in the script, if nothing but that key stands in it."""
    found = _KEY.search(script)
    key = base64.b64decode(found.group(1)) if found else b""
    return root_fingerprint(key) if script == root_key_script(key) and key else None


def fetch_from(url: str) -> Fetch:
    def fetch(path: str) -> bytes:
        try:
            answer = httpx.get(f"{url.rstrip('/')}{path}", timeout=TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise NotDeliveredError(f"{url} cannot be reached: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise NotDeliveredError(f"{url} answers {answer.status_code} for {path}.")
        return answer.content

    return fetch


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.verify_bundle", description=__doc__)
    parser.add_argument("url", nargs="?", help="the address of the portal")
    parser.add_argument("--fingerprint", help="of the root, as the clinic publishes it")
    parser.add_argument("--write", action="store_true", help="renew the manifest of this checkout")
    given = parser.parse_args(arguments)
    path = STATIC / MANIFEST_FILE
    if given.write:
        path.write_text(manifest(), encoding="ascii")
    expected = path.read_text(encoding="ascii")
    if given.url is None:
        print(expected, end="")
        print(f"Whole bundle: {bundle_hash(expected)}")
        return 0
    try:
        verdict = verify(fetch_from(given.url), expected)
    except NotDeliveredError as error:
        print(error)
        return 1
    _report(verdict, given.url, given.fingerprint)
    return 0 if verdict.is_good(fingerprint=given.fingerprint) else 1


def _report(verdict: Verdict, url: str, fingerprint: str | None) -> None:
    for path, digest in verdict.hashes.items():
        print(f"{digest}  {path}{'  DIFFERENT' if path in verdict.differing else ''}")
    same = "DIFFERENT from this checkout" if verdict.differing else "the same as in this checkout"
    print(f"Whole bundle of {url}: {verdict.whole}, {same}")
    if verdict.fingerprint is None:
        print(f"{ROOT_KEY_PATH} holds something else than the root's key: DIFFERENT")
    elif fingerprint is None:
        print(f"Fingerprint of the root: {verdict.fingerprint}. Compare it with the published one.")
    else:
        words = "as given" if fingerprint == verdict.fingerprint else "DIFFERENT from the one given"
        print(f"Fingerprint of the root: {verdict.fingerprint}, {words}")


if __name__ == "__main__":
    sys.exit(main())
