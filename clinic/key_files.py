"""The key files of an installation: made once, each with its own use, readable by their owner."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clinic.durable_files import fsync_folder
from clinic.master_key import KEY_BYTES, read_master_key

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


def add_master_key(path: Path) -> str:
    """Put a fresh master key in front of those in the file, at once or not at all; return its id.

    Raises:
        MasterKeyError: the file cannot be used.
        OSError: the new file could not be written; the old one is as it was.

    """
    read_master_key(path)
    _replace(path, os.urandom(KEY_BYTES) + path.read_bytes())
    return read_master_key(path).ids()[0]


def retire_master_keys(path: Path) -> tuple[str, ...]:
    """Leave only the newest master key in the file; return the ids of those that went.

    Raises:
        MasterKeyError: the file cannot be used.
        OSError: the new file could not be written; the old one is as it was.

    """
    before = read_master_key(path)
    _replace(path, before.key)
    return before.ids()[1:]


def _replace(path: Path, content: bytes) -> None:
    """Exchange a file's content; its owner stays, whoever runs this."""
    owner, new = path.stat(), path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    _write(new, content)
    os.chown(new, owner.st_uid, owner.st_gid)
    new.replace(path)
    fsync_folder(path.parent)


def read_root_public(path: Path) -> bytes:
    """The root's public key, 32 bytes.

    Raises:
        OSError: the file cannot be read, or holds something else.

    """
    try:
        raw = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError as error:
        raise OSError(f"{path} holds no public key in base64.") from error
    if len(raw) != 32:
        raise OSError(f"{path} holds no Ed25519 public key of 32 bytes.")
    return raw


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
