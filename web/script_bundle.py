"""The portal's scripts as they are published: a hash for each, one for all, the root's key pinned.

Every page with scripts carries an import map that names each module with its hash, so that a
browser runs no other one (HTML standard: import maps with integrity, Subresource Integrity). The
root's public key is a module of its own: `python -m tools.verify_bundle` compares it as it compares
the others.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flask import Flask
from markupsafe import Markup

STATIC = Path(__file__).resolve().parent / "portal" / "static"
MANIFEST_FILE = "SHA256SUMS"
ROOT_KEY_PATH = "/root-key.js"
_PREFIX = "/static/"


def manifest(folder: Path = STATIC) -> str:
    """The SHA-256 of every script below `folder`, as sha256sum writes it."""
    found = folder.rglob("*.js")
    return manifest_of({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})


def manifest_of(scripts: Mapping[str, bytes]) -> str:
    """The same of scripts by their path; its own hash is that of the whole bundle."""
    return "".join(f"{_sha256(scripts[path]).hex()}  {path}\n" for path in sorted(scripts))


def parse_manifest(text: str) -> dict[str, str]:
    """The hashes (hex) by path."""
    return {
        path: digest for digest, _, path in (line.partition("  ") for line in text.splitlines())
    }


def bundle_hash(text: str) -> str:
    """The hash of a whole bundle (hex), from its manifest."""
    return _sha256(text.encode()).hex()


def root_key_script(root_public: bytes) -> bytes:
    """The module that pins the clinic's root: the same bytes wherever that key is the same."""
    key = base64.b64encode(root_public).decode()
    return (
        "// The public key that signs the clinic's keys. Its fingerprint is published.\n"
        f'export const ROOT_PUBLIC_KEY = "{key}";\n'
    ).encode()


@dataclass(frozen=True)
class ScriptBundle:
    """The SHA-256 of every module by its path in an address."""

    digests: Mapping[str, bytes]

    @classmethod
    def of(cls, root_public: bytes, folder: Path = STATIC) -> "ScriptBundle":
        own = parse_manifest(manifest(folder))
        digests = {_PREFIX + path: bytes.fromhex(digest) for path, digest in own.items()}
        return cls({**digests, ROOT_KEY_PATH: _sha256(root_key_script(root_public))})

    def address(self, path: str) -> str:
        """It changes with the content, so that no browser takes an old copy for the new one."""
        return f"{path}?v={self.digests[path].hex()[:16]}"

    def integrity(self, path: str) -> str:
        return "sha256-" + base64.b64encode(self.digests[path]).decode()

    @cached_property
    def import_map(self) -> Markup:
        """JSON; a module finds the others at their addresses, and only with their hashes."""
        imports = {path: self.address(path) for path in self.digests}
        integrity = {self.address(path): self.integrity(path) for path in self.digests}
        return Markup(json.dumps({"imports": imports, "integrity": integrity}))  # noqa: S704 # nosec B704

    def script(self, name: str) -> Markup:
        """The tag of a page's own module, such as `js/upload.js`."""
        path = _PREFIX + name
        return Markup('<script type="module" src="{}" integrity="{}"></script>').format(
            self.address(path), self.integrity(path)
        )


def init_script_bundle(app: Flask, root_public: bytes) -> None:
    """Give templates `scripts`, the bundle of this installation."""
    app.jinja_env.globals["scripts"] = ScriptBundle.of(root_public)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
