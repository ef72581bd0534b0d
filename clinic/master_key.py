"""The master key and what it wraps: private epoch keys and patients' keys."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class MasterKeyError(Exception):
    """The master key cannot be used; the message says why."""


class MasterKey(Protocol):
    """A key service. A file holds the key here; a KMS can take its place."""

    def wrap(self, secret: bytes, *, context: str) -> bytes: ...

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes: ...


@dataclass(frozen=True)
class LocalMasterKey:
    """AES-256-GCM with the context as additional data; 12-byte random nonce in front."""

    key: bytes = field(repr=False)

    def wrap(self, secret: bytes, *, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, secret, context.encode())

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        nonce, ciphertext = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            return AESGCM(self.key).decrypt(nonce, ciphertext, context.encode())
        except InvalidTag as error:
            raise MasterKeyError(f"The master key does not open {context}.") from error


def read_master_key(path: Path) -> LocalMasterKey:
    """Read the 32-byte key. A file that others may read is refused."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        key = path.read_bytes()
    except OSError as error:
        raise MasterKeyError(f"The master key file {path} cannot be read: {error}") from error
    if mode & 0o077:
        raise MasterKeyError(f"The master key file {path} is open to others: chmod 0400 it.")
    if len(key) != 32:
        raise MasterKeyError(f"The master key file {path} must hold 32 bytes.")
    return LocalMasterKey(key)
