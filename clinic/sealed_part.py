"""One part of a backup: compressed, then encrypted to a public key in the format age.

Whoever makes backups holds the public key alone and so cannot open an older one. The format is
c2sp.org/age with an X25519 recipient, so the program `age` opens a part without any code of ours.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyrage

READ_SIZE = 1 << 20


class PartError(Exception):
    """A part cannot be sealed or opened; the message says why."""


@dataclass(frozen=True)
class Part:
    """A file of a backup as it must be found again: name, bytes, SHA-256 (hex)."""

    file: str
    size: int
    sha256: str


class Sink(Protocol):
    """Takes the decompressed content piece by piece."""

    def write(self, data: bytes) -> None: ...


def new_identity() -> tuple[str, str]:
    """A fresh pair: the secret identity, to be kept offline, and its public recipient."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def read_identity(path: Path) -> str:
    """The secret key in a file of our commands or of `age-keygen`, which has lines of comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.strip() for line in lines if line.strip() and line[0] != "#"), "")


def seal_bytes(content: bytes, *, recipient: str) -> bytes:
    """A file of age as bytes, not compressed.

    Raises:
        PartError: the recipient is no public key of age.

    """
    return pyrage.encrypt(content, [_public(recipient)])  # type: ignore[no-any-return]


def seal_part(content: Iterable[bytes], path: Path, *, recipient: str) -> None:
    """Write `content` to the new file `path` so that only the recipient's identity opens it.

    Raises:
        PartError: the recipient is no public key of age.
        OSError: the disk did not take it.

    """
    source = _Source(_compressed(content))
    try:
        public = _public(recipient)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            pyrage.encrypt_io(source, file, [public])
            file.flush()
            os.fsync(file.fileno())
    except pyrage.EncryptError as error:
        raise source.fault or OSError(str(error)) from error


def open_part(path: Path, sink: Sink, *, identity: str) -> None:
    """Pass the content on to `sink`.

    What was passed on counts only when this returns: a damage further on is found then.

    Raises:
        PartError: the identity is not the right one, or the part was changed or cut.

    """
    try:
        secret = pyrage.x25519.Identity.from_str(identity)
    except pyrage.IdentityError as error:
        raise PartError("The identity is no secret key of age (AGE-SECRET-KEY-1...).") from error
    target = _Target(sink)
    try:
        with path.open("rb") as file:
            pyrage.decrypt_io(file, target, [secret])
        target.finish()
    except pyrage.DecryptError as error:
        raise PartError(f"This identity does not open {path.name}: {error}.") from error
    except (OSError, zlib.error) as error:
        raise target.fault or PartError(f"{path.name} was changed or cut: {error}.") from error


def _public(recipient: str) -> "pyrage.x25519.Recipient":
    try:
        return pyrage.x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        raise PartError(f"{recipient} is no public key of age: it begins with age1.") from error


def part_of(path: Path) -> Part:
    """The part as it lies there now."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(READ_SIZE):
            digest.update(piece)
            size += len(piece)
    return Part(path.name, size, digest.hexdigest())


def _compressed(content: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj()
    for piece in content:
        packed = packer.compress(piece)
        if packed:
            yield packed
    yield packer.flush()


class _Source:
    """What age reads from. It keeps the fault that stopped it, which age would turn into text."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.fault: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = next(self._pieces)
        except StopIteration:
            return b""
        except Exception as fault:
            self.fault = fault
            raise
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


class _Target:
    """What age writes to: decompresses and passes on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._unpacker = zlib.decompressobj()
        self.fault: Exception | None = None

    def write(self, data: bytes) -> int:
        unpacked = self._unpacker.decompress(data)
        try:
            self._sink.write(unpacked)
        except Exception as fault:
            self.fault = fault
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def finish(self) -> None:
        self._sink.write(self._unpacker.flush())
        if not self._unpacker.eof:
            raise zlib.error("it ends too early")
