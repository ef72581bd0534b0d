"""Master keys and what they wrap: private epoch keys and patients' keys.

A wrapped value names its master key: one byte of format, the key's id (8 bytes), then what the
provider of the key made. So old and new are told apart while a rotation is under way. Which key
wraps what is new is said by the database (clinic/records/keys.py), not by the provider.

A KMS takes the file's place by implementing `MasterKey`: an id stands for one version of its key,
`wrap` and `unwrap` call its encrypt and decrypt with the context as additional data (Vault transit:
`associated_data`; AWS KMS: the encryption context), and an outage is a `MasterKeyError`.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KEY_ID_BYTES: Final = 8
PREFIX_BYTES: Final = 1 + KEY_ID_BYTES
# What was wrapped before ids were kept: every key at hand is tried.
UNNAMED: Final = "00" * KEY_ID_BYTES
_FORMAT: Final = b"\x01"


class MasterKeyError(Exception):
    """The master key cannot be used; the message says why."""


class MasterKey(Protocol):
    """A key service that holds one master key, or several while they are exchanged."""

    def ids(self) -> tuple[str, ...]:
        """The keys at hand (16 hex digits each); a rotation leads to the first."""

    def wrap(self, secret: bytes, *, context: str, key_id: str) -> bytes: ...

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes: ...


def key_id_of(wrapped: bytes) -> str:
    """The id of the master key that a wrapped value names."""
    return wrapped[1:PREFIX_BYTES].hex()


def prefix_of(key_id: str) -> bytes:
    """What every value begins with that this key wrapped."""
    return _FORMAT + bytes.fromhex(key_id)


@dataclass(frozen=True)
class LocalMasterKey:
    """AES-256-GCM with the context as additional data; 12-byte random nonce in front.

    Each key has 32 bytes; `previous` ones only open what is not yet wrapped anew.
    """

    key: bytes = field(repr=False)
    previous: tuple[bytes, ...] = field(default=(), repr=False)

    def ids(self) -> tuple[str, ...]:
        return tuple(map(_id_of, self._keys))

    def wrap(self, secret: bytes, *, context: str, key_id: str) -> bytes:
        (key,) = self._named(key_id, context)
        nonce = os.urandom(NONCE_BYTES)
        return prefix_of(key_id) + nonce + AESGCM(key).encrypt(nonce, secret, context.encode())

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        if wrapped[:1] != _FORMAT:
            raise MasterKeyError(f"What wraps {context} has an unknown format.")
        named = key_id_of(wrapped)
        candidates = self._keys if named == UNNAMED else self._named(named, context)
        nonce, ciphertext = (
            wrapped[PREFIX_BYTES:][:NONCE_BYTES],
            wrapped[PREFIX_BYTES:][NONCE_BYTES:],
        )
        for key in candidates:
            try:
                return AESGCM(key).decrypt(nonce, ciphertext, context.encode())
            except InvalidTag:
                continue
        raise MasterKeyError(f"The master key does not open {context}.")

    @property
    def _keys(self) -> tuple[bytes, ...]:
        return (self.key, *self.previous)

    def _named(self, key_id: str, context: str) -> tuple[bytes, ...]:
        for key in self._keys:
            if _id_of(key) == key_id:
                return (key,)
        raise MasterKeyError(
            f"The master key {key_id} is needed for {context}; at hand is {', '.join(self.ids())}."
        )


@dataclass(frozen=True)
class FileMasterKey:
    """The keys of a file, read anew at each use: a new file counts at once, without a restart."""

    path: Path

    def ids(self) -> tuple[str, ...]:
        return read_master_key(self.path).ids()

    def wrap(self, secret: bytes, *, context: str, key_id: str) -> bytes:
        return read_master_key(self.path).wrap(secret, context=context, key_id=key_id)

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        return read_master_key(self.path).unwrap(wrapped, context=context)


def read_master_key(path: Path) -> LocalMasterKey:
    """Read the keys of 32 bytes, the newest first. A file that others may read is refused."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise MasterKeyError(f"The master key file {path} cannot be read: {error}") from error
    if mode & 0o077:
        raise MasterKeyError(f"The master key file {path} is open to others: chmod 0400 it.")
    return parse_master_keys(content, name=str(path))


def parse_master_keys(content: bytes, *, name: str) -> LocalMasterKey:
    """The keys in a file's content; `name` is for the message.

    Raises:
        MasterKeyError: the content is not one or several keys of 32 bytes.

    """
    if not content or len(content) % KEY_BYTES:
        raise MasterKeyError(f"The master key file {name} must hold 32 bytes, or 32 for each key.")
    keys = [content[at : at + KEY_BYTES] for at in range(0, len(content), KEY_BYTES)]
    return LocalMasterKey(keys[0], tuple(keys[1:]))


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"dermqueue master key id\0" + key).digest()[:KEY_ID_BYTES].hex()
