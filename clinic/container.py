"""The grammar of the sealed container DSEAL/1: what a reader without any key can check.

    u32be header length | header JSON | chunk 0 | chunk 1 | ...

Header and body are usable apart: the header changes when recipients change, the body never does.
Readers pin the version and the algorithms below and refuse everything else; nothing is negotiated.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

VERSION: Final = "dseal/1"
KEM_X25519: Final = 0x0020
KDF_HKDF_SHA256: Final = 0x0001
AEAD_AES_256_GCM: Final = 0x0002
ALG_PATIENT: Final = "A256GCM"
CHUNK_SIZE: Final = 1_048_576
TAG_SIZE: Final = 16
NONCE_SIZE: Final = 12
FILE_KEY_SIZE: Final = 32
COMMITMENT_SIZE: Final = 32
MAX_HEADER_SIZE: Final = 65_536
LENGTH_FIELD_SIZE: Final = 4
MAX_SLOT: Final = 999

IMAGE_TYPES: Final = frozenset({"photo", "rendition", "heatmap"})
TEXT_TYPES: Final = frozenset(
    {
        *("history", "identity", "finding", "letter", "retake"),
        *("draft", "gp_letter", "pathology", "question", "note", "message"),
    }
)
FILE_TYPES: Final = frozenset({"attachment"})
OBJECT_TYPES: Final = IMAGE_TYPES | TEXT_TYPES | FILE_TYPES

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SUITE_FIELDS: Final = (VERSION, KDF_HKDF_SHA256, AEAD_AES_256_GCM, CHUNK_SIZE)
_WRAPPED_SIZE: Final[dict[int | str | None, int]] = {
    KEM_X25519: 32 + FILE_KEY_SIZE + TAG_SIZE,
    ALG_PATIENT: NONCE_SIZE + FILE_KEY_SIZE + TAG_SIZE,
}


class EnvelopeError(ValueError):
    """A container cannot be made, read or opened; the text never holds a key or a plaintext."""


class MalformedContainer(EnvelopeError):
    """The bytes do not follow the grammar, or name a version or algorithm outside the list."""


class WrongContext(EnvelopeError):
    """A well-formed container of another submission, slot or type."""


class UnknownRecipient(EnvelopeError):
    """The header holds no entry for this key id."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an object is and whose; bound into every key of its container."""

    submission: str
    slot: int
    type: str

    def __post_init__(self) -> None:
        _check_name(self.submission, "submission")
        _check_name(self.type, "type")
        if type(self.slot) is not int or not 0 <= self.slot <= MAX_SLOT:
            raise MalformedContainer("slot is not a whole number in range")
        if self.type not in OBJECT_TYPES:
            raise MalformedContainer("unknown object type")

    def to_core(self) -> str:
        """Write the core text of a new container for this object."""
        ctx = {"submission": self.submission, "slot": self.slot, "type": self.type}
        suite = dict(zip(("v", "kdf", "aead", "chunk"), _SUITE_FIELDS, strict=True))
        return _dump({**suite, "ctx": ctx})


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One wrapped file key: HPKE has `kem`, a patient's key has `alg`, never both."""

    kid: str
    kem: int | None = None
    alg: str | None = None
    sealed: bytes

    def __post_init__(self) -> None:
        _check_name(self.kid, "kid")
        if (self.kem is None) == (self.alg is None):
            raise MalformedContainer("a recipient needs either kem or alg")
        if _WRAPPED_SIZE.get(self.alg if self.kem is None else self.kem) != len(self.sealed):
            raise MalformedContainer("unknown wrapping, or one of the wrong length")

    def to_dict(self) -> dict[str, str | int | None]:
        how = {"alg": self.alg} if self.kem is None else {"kem": self.kem}
        return {"kid": self.kid, **how, "sealed": _to_base64(self.sealed)}


@dataclass(frozen=True, kw_only=True)
class Header:
    """`core` stays the text that arrived: its bytes are hashed and never serialised again."""

    core: str
    commit: bytes
    recipients: tuple[Recipient, ...]

    def __post_init__(self) -> None:
        _parse_core(self.core)
        if len(self.commit) != COMMITMENT_SIZE:
            raise MalformedContainer("commitment has the wrong length")
        kids = [recipient.kid for recipient in self.recipients]
        if not kids:
            raise MalformedContainer("a container needs a recipient")
        if len(set(kids)) != len(kids):
            raise MalformedContainer("the same kid is listed twice")

    @cached_property
    def context(self) -> Context:
        return _parse_core(self.core)

    @property
    def salt(self) -> bytes:
        return core_salt(self.core)

    def recipient(self, kid: str) -> Recipient:
        for recipient in self.recipients:
            if recipient.kid == kid:
                return recipient
        raise UnknownRecipient("no entry for this key id")

    def with_recipients(self, *recipients: Recipient) -> Self:
        """Make the header for exactly these recipients, in place of the present ones."""
        return type(self)(core=self.core, commit=self.commit, recipients=recipients)

    def adding(self, recipient: Recipient) -> Self:
        return self.with_recipients(*self.recipients, recipient)

    def without(self, kid: str) -> Self:
        self.recipient(kid)
        return self.with_recipients(*(r for r in self.recipients if r.kid != kid))

    def to_json(self) -> str:
        fields = {
            "core": self.core,
            "commit": _to_base64(self.commit),
            "recipients": [recipient.to_dict() for recipient in self.recipients],
        }
        text = _dump(fields)
        if len(text) > MAX_HEADER_SIZE:
            raise MalformedContainer("header is too long")
        return text


@dataclass(frozen=True, kw_only=True)
class Sealed:
    header: Header
    body: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_body_size(len(self.body))

    def to_bytes(self) -> bytes:
        head = self.header.to_json().encode("ascii")
        return len(head).to_bytes(LENGTH_FIELD_SIZE, "big") + head + self.body


def parse_container(data: bytes) -> Sealed:
    """Take header and body apart; sizes and grammar are checked, nothing is opened."""
    length = int.from_bytes(data[:LENGTH_FIELD_SIZE], "big")
    end = LENGTH_FIELD_SIZE + length
    if len(data) < end or length > MAX_HEADER_SIZE:
        raise MalformedContainer("header length does not fit the container")
    try:
        text = data[LENGTH_FIELD_SIZE:end].decode("ascii")
    except UnicodeDecodeError:
        raise MalformedContainer("header is not plain ASCII") from None
    return Sealed(header=parse_header(text), body=data[end:])


def parse_header(text: str) -> Header:
    if len(text) > MAX_HEADER_SIZE or not text.isascii():
        raise MalformedContainer("header is too long or not plain ASCII")
    fields = _load(text, keys={"core", "commit", "recipients"})
    if not isinstance(fields["core"], str) or not isinstance(fields["recipients"], list):
        raise MalformedContainer("header has a field of the wrong type")
    return Header(
        core=fields["core"],
        commit=_from_base64(fields["commit"]),
        recipients=tuple(_parse_recipient(entry) for entry in fields["recipients"]),
    )


def check_body_size(size: int) -> None:
    """Refuse a length that no sealing makes: an empty chunk stands only for an empty object."""
    rest = size % (CHUNK_SIZE + TAG_SIZE)
    if size < TAG_SIZE or 0 < rest < TAG_SIZE or (rest == TAG_SIZE and size != TAG_SIZE):
        raise MalformedContainer("the chunks do not add up to the body's length")


def longest_container(size: int) -> int:
    """How many bytes the container of an object of `size` bytes has at most."""
    chunks = max(1, -(-size // CHUNK_SIZE))
    return LENGTH_FIELD_SIZE + MAX_HEADER_SIZE + size + chunks * TAG_SIZE


def check_context(header: Header, *, expected: Context) -> None:
    if header.context != expected:
        raise WrongContext("the container was sealed as another object")


def core_salt(core: str) -> bytes:
    return hashlib.sha256(core.encode("ascii")).digest()


def core_digest(header: Header) -> str:
    """Hex SHA-256 of the core; rows keep it, since HPKE's base mode does not name the sender."""
    return header.salt.hex()


def body_digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _parse_core(core: str) -> Context:
    if not core.isascii():
        raise MalformedContainer("core is not plain ASCII")
    fields = _load(core, keys={"v", "kdf", "aead", "chunk", "ctx"})
    suite = (fields["v"], fields["kdf"], fields["aead"], fields["chunk"])
    # The types count too: True would equal 1, and 1.0 as well.
    if suite != _SUITE_FIELDS or any(type(value) not in {str, int} for value in suite):
        raise MalformedContainer("unknown version or algorithm")
    return Context(**_fields(fields["ctx"], keys={"submission", "slot", "type"}))


def _parse_recipient(entry: Any) -> Recipient:
    how, kind = ("kem", int) if isinstance(entry, dict) and "kem" in entry else ("alg", str)
    fields = _fields(entry, keys={"kid", how, "sealed"})
    if type(fields[how]) is not kind:
        raise MalformedContainer("a recipient has a field of the wrong type")
    return Recipient(**{**fields, "sealed": _from_base64(fields["sealed"])})


def _load(text: str, *, keys: set[str]) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise MalformedContainer("not the JSON of a container") from None
    return _fields(value, keys=keys)


def _fields(value: Any, *, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise MalformedContainer("fields are missing or unknown")
    return value


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise MalformedContainer("a field is given twice")
        fields[key] = value
    return fields


def _check_name(value: Any, what: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise MalformedContainer(f"{what} is not a plain identifier")


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: Any) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise MalformedContainer("a field is not base64") from None
    # A second spelling of the same bytes would be a difference that no reader can see.
    if _to_base64(data) != text:
        raise MalformedContainer("a field is not base64 in its one spelling")
    return data
