"""The key files of an installation: made once, each with its own use, readable by their owner."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_FILES = ("cookie.key", "account.key", "audit.key", "enrolment.key")
MASTER_FILE = "master.key"
ROOT_PRIVATE_FILE = "root.key"  # belongs offline; a demo installation keeps it here
ROOT_PUBLIC_FILE = "root.pub"


class KeyFilesExistError(Exception):
    """Keys are never overwritten: what was sealed under them would be lost."""


def create_key_files(folder: Path) -> str:
    """Write all key files and return the root's public key in base64."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise KeyFilesExistError(f"{folder} is not empty; keys are never overwritten.")
    for name in SECRET_FILES:
        _write(folder / name, base64.b64encode(os.urandom(32)))
    _write(folder / MASTER_FILE, os.urandom(32))
    root = Ed25519PrivateKey.generate()
    _write(folder / ROOT_PRIVATE_FILE, root.private_bytes_raw())
    public = base64.b64encode(root.public_key().public_bytes_raw())
    _write(folder / ROOT_PUBLIC_FILE, public)
    return public.decode()


def read_root_private(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
