"""Sealing and opening DSEAL/1: a photo, heat-map or text, readable by named recipients only.

A fresh 32-byte file key encrypts the object in 1 MiB chunks (AES-256-GCM in the STREAM
construction, as in age); the file key is wrapped for each recipient, by HPKE base mode (RFC 9180)
or by AES-256-GCM under a patient's key. The `core` text enters every derivation, so a container
opens only as the object it was sealed as; the commitment makes sure that one body cannot open
under two file keys as two pictures.
"""

import hmac
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clinic.container import (
    ALG_PATIENT,
    CHUNK_SIZE,
    FILE_KEY_SIZE,
    IMAGE_TYPES,
    KEM_X25519,
    MAX_HEADER_SIZE,
    NONCE_SIZE,
    OBJECT_TYPES,
    TAG_SIZE,
    TEXT_TYPES,
    VERSION,
    Context,
    EnvelopeError,
    Header,
    MalformedContainer,
    Recipient,
    Sealed,
    UnknownRecipient,
    WrongContext,
    body_digest,
    check_body_size,
    check_context,
    core_digest,
    core_salt,
    parse_container,
    parse_header,
)

__all__ = [
    "CHUNK_SIZE",
    "FILE_KEY_SIZE",
    "IMAGE_TYPES",
    "MAX_HEADER_SIZE",
    "OBJECT_TYPES",
    "TAG_SIZE",
    "TEXT_TYPES",
    "BadKey",
    "BrokenChunk",
    "CannotUnwrap",
    "CommitmentMismatch",
    "Context",
    "EnvelopeError",
    "Header",
    "MalformedContainer",
    "PublicKey",
    "Recipient",
    "Sealed",
    "UnknownRecipient",
    "WrongContext",
    "body_digest",
    "check_context",
    "core_digest",
    "open_body",
    "parse_container",
    "parse_header",
    "seal",
    "unwrap",
    "unwrap_with_key",
    "wrap",
    "wrap_with_key",
]

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class BadKey(EnvelopeError):
    """A recipient's key is no usable X25519 point, or no 32-byte key."""


class CannotUnwrap(EnvelopeError):
    """The entry for this key id does not open under the key given."""


class CommitmentMismatch(EnvelopeError):
    """The file key is not the one that the header commits to."""


class BrokenChunk(EnvelopeError):
    """A chunk was changed, moved, cut or left out."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """An X25519 recipient: opaque key id and the 32 raw bytes."""

    kid: str
    raw: bytes


def seal(plaintext: bytes, *, context: Context, recipients: Sequence[PublicKey]) -> Sealed:
    file_key = secrets.token_bytes(FILE_KEY_SIZE)
    core = context.to_core()
    salt = core_salt(core)
    header = Header(
        core=core,
        commit=_derive(file_key, salt, "commit"),
        recipients=tuple(_wrap(salt, file_key, public_key) for public_key in recipients),
    )
    payload = AESGCM(_derive(file_key, salt, "payload"))
    chunks = _numbered(plaintext, CHUNK_SIZE)
    body = b"".join(payload.encrypt(nonce, chunk, None) for nonce, chunk in chunks)
    return Sealed(header=header, body=body)


def open_body(header: Header, body: bytes, *, file_key: bytes, expected: Context) -> bytes:
    """Give the plaintext once context, commitment and every chunk up to the last are good."""
    check_context(header, expected=expected)
    check_body_size(len(body))
    _check_commitment(header, file_key)
    payload = AESGCM(_derive(file_key, header.salt, "payload"))
    chunks = _numbered(body, CHUNK_SIZE + TAG_SIZE)
    try:
        return b"".join(payload.decrypt(nonce, chunk, None) for nonce, chunk in chunks)
    except InvalidTag:
        raise BrokenChunk("a chunk was changed, moved, cut or left out") from None


def wrap(header: Header, file_key: bytes, *, public_key: PublicKey) -> Recipient:
    _check_commitment(header, file_key)
    return _wrap(header.salt, file_key, public_key)


def unwrap(header: Header, *, kid: str, private_key: X25519PrivateKey) -> bytes:
    """Give the 32-byte file key, held against the commitment before anybody can use it."""
    entry = header.recipient(kid)
    if entry.kem != KEM_X25519:
        raise CannotUnwrap("this entry is not wrapped by HPKE")
    try:
        file_key = _HPKE.decrypt(entry.sealed, private_key, _hpke_info(header.salt))
    except (InvalidTag, ValueError):
        raise CannotUnwrap("the entry does not open under this key") from None
    _check_commitment(header, file_key)
    return file_key


def wrap_with_key(header: Header, file_key: bytes, *, kid: str, key: bytes) -> Recipient:
    """Wrap under a patient's 32-byte key; `kid` is opaque and names the key and its version."""
    _check_commitment(header, file_key)
    nonce = secrets.token_bytes(NONCE_SIZE)
    wrapped = _key_cipher(key).encrypt(nonce, file_key, header.salt + kid.encode())
    return Recipient(kid=kid, alg=ALG_PATIENT, sealed=nonce + wrapped)


def unwrap_with_key(header: Header, *, kid: str, key: bytes) -> bytes:
    entry = header.recipient(kid)
    if entry.alg != ALG_PATIENT:
        raise CannotUnwrap("this entry is not wrapped under a patient's key")
    nonce, wrapped = entry.sealed[:NONCE_SIZE], entry.sealed[NONCE_SIZE:]
    try:
        file_key = _key_cipher(key).decrypt(nonce, wrapped, header.salt + kid.encode())
    except InvalidTag:
        raise CannotUnwrap("the entry does not open under this key") from None
    _check_commitment(header, file_key)
    return file_key


def _wrap(salt: bytes, file_key: bytes, public_key: PublicKey) -> Recipient:
    try:
        point = X25519PublicKey.from_public_bytes(public_key.raw)
        wrapped = _HPKE.encrypt(file_key, point, _hpke_info(salt))
    except ValueError:
        raise BadKey("the recipient's public key is not usable") from None
    return Recipient(kid=public_key.kid, kem=KEM_X25519, sealed=wrapped)


def _key_cipher(key: bytes) -> AESGCM:
    # The library would take 16 bytes as well and quietly mean AES-128.
    if len(key) != FILE_KEY_SIZE:
        raise BadKey("a patient's key has 32 bytes")
    return AESGCM(key)


def _check_commitment(header: Header, file_key: bytes) -> None:
    if not hmac.compare_digest(_derive(file_key, header.salt, "commit"), header.commit):
        raise CommitmentMismatch("the file key is not the one the header commits to")


def _numbered(data: bytes, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (nonce, chunk): an 11-byte big-endian counter, then 1 on the last chunk alone."""
    view = memoryview(data)
    last = max(0, len(view) - 1) // size
    for index in range(last + 1):
        nonce = index.to_bytes(NONCE_SIZE - 1, "big") + bytes([index == last])
        yield nonce, view[index * size : (index + 1) * size]


def _derive(file_key: bytes, salt: bytes, purpose: str) -> bytes:
    info = f"{VERSION} {purpose}".encode("ascii")
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(file_key)


def _hpke_info(salt: bytes) -> bytes:
    return f"{VERSION} file-key".encode("ascii") + b"\x00" + salt
