"""The key files of an installation: made once, each with its own use, readable by their owner."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_FILES = ("cookie.key", "account.key", "audit.key", "installation.key", "enrolment.key")
MASTER_FILE = "master.key"
ROOT_PRIVATE_FILE = "root.key"  # belongs offline; a demo installation keeps it here
ROOT_PUBLIC_FILE = "root.pub"


class KeyFilesExistError(Exception):
    """Keys are never overwritten: what was sealed under them would be lost."""


def create_key_files(folder: Path) -> str:
    """Write all key files and return the root's public key in base64."""
    _require_empty(folder)
    for name in SECRET_FILES:
        _write(folder / name, base64.b64encode(os.urandom(32)))
    _write(folder / MASTER_FILE, os.urandom(32))
    root = Ed25519PrivateKey.generate()
    _write(folder / ROOT_PRIVATE_FILE, root.private_bytes_raw())
    public = base64.b64encode(root.public_key().public_bytes_raw())
    _write(folder / ROOT_PUBLIC_FILE, public)
    return public.decode()


def read_key_files(folder: Path) -> dict[str, bytes]:
    """The files that a backup of the keys holds: all but the root's private one, which is offline.

    Raises:
        OSError: one of them is missing or cannot be read.

    """
    names = (*SECRET_FILES, MASTER_FILE, ROOT_PUBLIC_FILE)
    return {name: (folder / name).read_bytes() for name in names}


def write_key_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write key files that were read elsewhere.

    Raises:
        KeyFilesExistError: the folder holds files already.

    """
    _require_empty(folder)
    for name, content in files.items():
        _write(folder / name, content)


def read_root_private(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def _require_empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise KeyFilesExistError(f"{folder} is not empty; keys are never overwritten.")


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
