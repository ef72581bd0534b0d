"""The clinic's epoch public key, signed ahead of time by the offline root (Ed25519, RFC 8032).

A browser seals only to a key that carries this signature, so that a web server that hands out a
key of its own is noticed.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from clinic.envelope import PublicKey

DOMAIN: Final = "dermqueue epoch key 1"
PUBLIC_KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
MAX_TIME: Final = 2**53 - 1
_KID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_FIELDS: Final = {"kid", "public_key", "not_before", "not_after", "signature"}


class EpochKeyError(ValueError):
    """An epoch key may not be used for sealing."""


class MalformedEpochKey(EpochKeyError):
    """A field is missing, unknown or out of its grammar."""


class BadEpochSignature(EpochKeyError):
    """The signature is not the pinned root's."""


class OutsideEpoch(EpochKeyError):
    """The key is genuine, but its period has not begun or is over."""


@dataclass(frozen=True, kw_only=True)
class EpochKey:
    """`public_key` is raw X25519; the period is [not_before, not_after) in whole seconds, UTC."""

    kid: str
    public_key: bytes
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if not _KID.fullmatch(self.kid):
            raise MalformedEpochKey("kid is not a plain identifier")
        if len(self.public_key) != PUBLIC_KEY_SIZE:
            raise MalformedEpochKey("public key has the wrong length")
        for moment in (self.not_before, self.not_after):
            if moment.tzinfo is None or moment.microsecond:
                raise MalformedEpochKey("a time needs a zone and whole seconds")
        if self.not_before >= self.not_after:
            raise MalformedEpochKey("the period ends before it begins")

    def canonical_bytes(self) -> bytes:
        """Write the signed text: one value a line, so that no serialiser has a say in it."""
        public_key = base64.b64encode(self.public_key).decode("ascii")
        begin, end = _seconds(self.not_before), _seconds(self.not_after)
        return f"{DOMAIN}\n{self.kid}\n{public_key}\n{begin}\n{end}\n".encode("ascii")

    def recipient(self) -> PublicKey:
        return PublicKey(kid=self.kid, raw=self.public_key)


@dataclass(frozen=True, kw_only=True)
class SignedEpochKey:
    epoch: EpochKey
    signature: bytes

    def to_json(self) -> str:
        fields = {
            "kid": self.epoch.kid,
            "public_key": base64.b64encode(self.epoch.public_key).decode("ascii"),
            "not_before": _seconds(self.epoch.not_before),
            "not_after": _seconds(self.epoch.not_after),
            "signature": base64.b64encode(self.signature).decode("ascii"),
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "SignedEpochKey":
        """Grammar only: the signature is judged by `verify_epoch_key`."""
        fields = _load(text)
        epoch = EpochKey(
            kid=fields["kid"],
            public_key=_from_base64(fields["public_key"], size=PUBLIC_KEY_SIZE),
            not_before=_time(fields["not_before"]),
            not_after=_time(fields["not_after"]),
        )
        return cls(epoch=epoch, signature=_from_base64(fields["signature"], size=SIGNATURE_SIZE))


def sign_epoch_key(epoch: EpochKey, root_private: Ed25519PrivateKey) -> SignedEpochKey:
    return SignedEpochKey(epoch=epoch, signature=root_private.sign(epoch.canonical_bytes()))


def verify_epoch_key(signed: SignedEpochKey, root_public: bytes, *, now: datetime) -> EpochKey:
    """Give the epoch once signature and period hold; `root_public` is the raw Ed25519 key."""
    try:
        root = Ed25519PublicKey.from_public_bytes(root_public)
        root.verify(signed.signature, signed.epoch.canonical_bytes())
    except (InvalidSignature, ValueError):
        raise BadEpochSignature("the key is not signed by the pinned root") from None
    if not signed.epoch.not_before <= now < signed.epoch.not_after:
        raise OutsideEpoch("the key is not valid at this time")
    return signed.epoch


def root_fingerprint(root_public: bytes) -> str:
    """Hex SHA-256 of the raw root key, the form that is printed and compared by eye."""
    return hashlib.sha256(root_public).hexdigest()


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _time(value: Any) -> datetime:
    if type(value) is not int or not 0 <= value <= MAX_TIME:
        raise MalformedEpochKey("a time is not a whole number of seconds")
    try:
        return datetime.fromtimestamp(value, tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise MalformedEpochKey("a time is out of range") from None


def _load(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedEpochKey("not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise MalformedEpochKey("fields are missing or unknown")
    if not isinstance(fields["kid"], str):
        raise MalformedEpochKey("kid is not a text")
    return fields


def _from_base64(text: Any, *, size: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise MalformedEpochKey("a field is not base64") from None
    if len(data) != size:
        raise MalformedEpochKey("a field has the wrong length")
    return data
