"""How exactly each member computes, and the files of those that compute in 8 bits."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Precision = Literal["f32", "bf16", "int8"]
FOLDER: Final = "int8"  # Within the folder of a bundle.


class QuantisedError(Exception):
    """A file is missing or is not the one that was judged; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Precision by member, "f32" where it names none; sha256 by file of 8 bits in `folder`."""

    precisions: Mapping[str, Precision] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def of(self, name: str) -> Precision:
        return self.precisions.get(name, "f32")

    @property
    def in_8_bits(self) -> list[str]:
        return [name for name, precision in self.precisions.items() if precision == "int8"]


SINGLE: Final = Arithmetic()


def files_of(name: str) -> tuple[str, str]:
    """Graph and weights of a member, as OpenVINO writes them."""
    return f"{name}.xml", f"{name}.bin"


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of each file of these members."""
    return {file: _sha256(_read(folder / file)) for name in names for file in files_of(name)}


def read_quantised(name: str, arithmetic: Arithmetic) -> list[bytes]:
    """Graph and weights of a member, as they were judged.

    Raises:
        QuantisedError: a file cannot be read or does not have its hash.

    """
    return [_read_checked(arithmetic.folder / file, arithmetic.sha256) for file in files_of(name)]


def _read_checked(path: Path, sha256: Mapping[str, str]) -> bytes:
    data = _read(path)
    if _sha256(data) != sha256.get(path.name):
        raise QuantisedError(f"{path} is not the file that was judged: restore it")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise QuantisedError(f"{path} cannot be read: {error.strerror}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
