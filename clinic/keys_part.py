"""The keys' part of a backup: the key files, sealed to a public key of their own."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from clinic.key_files import MASTER_FILE, ROOT_PUBLIC_FILE, SECRET_FILES
from clinic.master_key import parse_master_keys
from clinic.sealed_part import PartError, open_part, seal_part

_NAMES = {*SECRET_FILES, MASTER_FILE, ROOT_PUBLIC_FILE}


def seal_keys(files: Mapping[str, bytes], path: Path, *, recipient: str) -> None:
    """Write the new file `path`. Raises what `seal_part` raises."""
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    seal_part([json.dumps(encoded).encode()], path, recipient=recipient)


def open_keys(path: Path, *, identity: str) -> dict[str, bytes]:
    """The key files by name.

    Raises:
        PartError: the part does not open under this identity, or holds something else.

    """
    found = _Gathered()
    open_part(path, found, identity=identity)
    try:
        encoded = json.loads(found.content)
    except ValueError as error:
        raise PartError(f"{path.name} holds no key files.") from error
    if not isinstance(encoded, dict) or set(encoded) != _NAMES:
        raise PartError(f"{path.name} holds no key files.")
    return {name: base64.b64decode(content) for name, content in encoded.items()}


def master_keys_in(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The ids of the master keys among the key files, the newest first.

    Raises:
        MasterKeyError: the file holds no master key.

    """
    return parse_master_keys(files[MASTER_FILE], name=MASTER_FILE).ids()


class _Gathered:
    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        self.content += data
