"""Every way to tamper with a container, and why a reader in either language refuses it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from clinic import envelope
from clinic.envelope import (
    CHUNK_SIZE,
    MAX_HEADER_SIZE,
    TAG_SIZE,
    Context,
    Header,
    PublicKey,
    Recipient,
    Sealed,
)
from tests.two_key_body import body_with_two_keys

SEALED_CHUNK = CHUNK_SIZE + TAG_SIZE
PHOTO = Context(submission="sub-1", slot=0, type="photo")
PLAINTEXT = b"".join(bytes([n]) * CHUNK_SIZE for n in range(2)) + b"the end"

# Why a reader refuses, as the browser's twin says it.
REASONS: dict[str, type[envelope.EnvelopeError]] = {
    "malformed": envelope.MalformedContainer,
    "wrong-context": envelope.WrongContext,
    "unknown-recipient": envelope.UnknownRecipient,
    "cannot-unwrap": envelope.CannotUnwrap,
    "commitment-mismatch": envelope.CommitmentMismatch,
    "broken-chunk": envelope.BrokenChunk,
}


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What an attacker works with; all of it was sealed by one language to `reader`.

    `again` is the same object sealed once more, `elsewhere` an object of another slot.
    `wrap(info, file_key)` makes an entry for the reader as that language makes it.
    """

    sealed: Sealed
    again: Sealed
    elsewhere: Sealed
    reader: PublicKey
    wrap: Callable[[bytes, bytes], Recipient]

    @property
    def header(self) -> Header:
        return self.sealed.header

    @property
    def fields(self) -> dict:
        return json.loads(self.header.to_json())


@dataclass(frozen=True, kw_only=True)
class Presented:
    """What the reader is given, and what it expects to open."""

    header: str
    body: bytes
    expected: Context = PHOTO


def _body(change: Callable[[bytes], bytes]) -> Callable[[Kit], Presented]:
    return lambda kit: Presented(header=kit.header.to_json(), body=change(kit.sealed.body))


def _header(**changes: object) -> Callable[[Kit], Presented]:
    return lambda kit: Presented(header=json.dumps(kit.fields | changes), body=kit.sealed.body)


def _core(old: str, new: str) -> Callable[[Kit], Presented]:
    def tamper(kit: Kit) -> Presented:
        assert old in kit.header.core
        return _header(core=kit.header.core.replace(old, new))(kit)

    return tamper


def _entry(**changes: object) -> Callable[[Kit], Presented]:
    def tamper(kit: Kit) -> Presented:
        entry = {**kit.fields["recipients"][0], **changes}
        kept = {name: value for name, value in entry.items() if value is not None}
        return _header(recipients=[kept])(kit)

    return tamper


def _recipients(*entries: Callable[[Kit], Recipient]) -> Callable[[Kit], Presented]:
    return lambda kit: _header(recipients=[entry(kit).to_dict() for entry in entries])(kit)


def _expected(context: Context) -> Callable[[Kit], Presented]:
    return lambda kit: Presented(
        header=kit.header.to_json(), body=kit.sealed.body, expected=context
    )


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _flipped_field(name: str) -> Callable[[Kit], Presented]:
    def tamper(kit: Kit) -> Presented:
        entry = kit.header.recipients[0]
        if name == "commit":
            header = replace(kit.header, commit=flipped(kit.header.commit, 5))
        else:
            sealed = flipped(entry.sealed, {"enc": 5, "ciphertext": 40, "tag": -1}[name])
            header = kit.header.with_recipients(replace(entry, sealed=sealed))
        return Presented(header=header.to_json(), body=kit.sealed.body)

    return tamper


def _edited_context(kit: Kit) -> Presented:
    expected = replace(PHOTO, submission="sub-2")
    return Presented(
        header=replace(kit.header, core=expected.to_core()).to_json(),
        body=kit.sealed.body,
        expected=expected,
    )


def _two_key_body(kit: Kit) -> Presented:
    """The commitment is to the first key; this reader's entry holds the second."""
    salt = kit.header.salt
    first, second = bytes(32), bytes([7]) * 32
    body = body_with_two_keys(*(envelope._derive(key, salt, "payload") for key in (first, second)))
    header = Header(
        core=kit.header.core,
        commit=envelope._derive(first, salt, "commit"),
        recipients=(kit.wrap(envelope._hpke_info(salt), second),),
    )
    return Presented(header=header.to_json(), body=body)


def _oversized(kit: Kit) -> Presented:
    text = kit.header.to_json()
    return Presented(header=text + " " * (MAX_HEADER_SIZE - len(text) + 1), body=kit.sealed.body)


def _swapped_chunks(body: bytes) -> bytes:
    return body[SEALED_CHUNK : 2 * SEALED_CHUNK] + body[:SEALED_CHUNK] + body[2 * SEALED_CHUNK :]


def _own(kit: Kit) -> Recipient:
    return kit.header.recipients[0]


TAMPERINGS: dict[str, tuple[Callable[[Kit], Presented], str]] = {
    # bits
    "a flipped bit of the core": (_core("sub-1", "sub-0"), "wrong-context"),
    "a flipped bit of the commitment": (_flipped_field("commit"), "commitment-mismatch"),
    "a flipped bit of the encapsulated key": (_flipped_field("enc"), "cannot-unwrap"),
    "a flipped bit of the wrapped key": (_flipped_field("ciphertext"), "cannot-unwrap"),
    "a flipped bit of the wrapped key's tag": (_flipped_field("tag"), "cannot-unwrap"),
    "a flipped bit of the first chunk": (_body(lambda body: flipped(body, 0)), "broken-chunk"),
    "a flipped bit of a middle tag": (
        _body(lambda body: flipped(body, 2 * SEALED_CHUNK - 1)),
        "broken-chunk",
    ),
    "a flipped bit of the last tag": (_body(lambda body: flipped(body, -1)), "broken-chunk"),
    # chunks
    "a dropped last chunk": (_body(lambda body: body[: 2 * SEALED_CHUNK]), "broken-chunk"),
    "a dropped first chunk": (_body(lambda body: body[SEALED_CHUNK:]), "broken-chunk"),
    "a cut inside a chunk": (_body(lambda body: body[: SEALED_CHUNK + 500]), "broken-chunk"),
    "a cut inside a tag": (_body(lambda body: body[: SEALED_CHUNK + 5]), "malformed"),
    "an empty body": (_body(lambda _: b""), "malformed"),
    "an empty chunk at the end": (
        _body(lambda body: body[: SEALED_CHUNK + TAG_SIZE]),
        "malformed",
    ),
    "two swapped chunks": (_body(_swapped_chunks), "broken-chunk"),
    "appended bytes": (_body(lambda body: body + b"PK\x03\x04"), "broken-chunk"),
    "the body of another sealing": (
        lambda kit: Presented(header=kit.header.to_json(), body=kit.again.body),
        "broken-chunk",
    ),
    # context
    "a replay under another submission": (
        _expected(replace(PHOTO, submission="sub-2")),
        "wrong-context",
    ),
    "a replay in another slot": (_expected(replace(PHOTO, slot=1)), "wrong-context"),
    "a replay as another type": (_expected(replace(PHOTO, type="heatmap")), "wrong-context"),
    "an edited context": (_edited_context, "cannot-unwrap"),
    # wrapped keys
    "the wrapped key of another object": (
        _recipients(lambda kit: kit.elsewhere.header.recipients[0]),
        "cannot-unwrap",
    ),
    "the wrapped key of another sealing": (
        _recipients(lambda kit: kit.again.header.recipients[0]),
        "commitment-mismatch",
    ),
    "a key wrapped for another purpose": (
        _recipients(
            lambda kit: kit.wrap(b"dseal/2 file-key\0" + kit.header.salt, bytes(32)),
        ),
        "cannot-unwrap",
    ),
    "a key wrapped without its context": (
        _recipients(lambda kit: kit.wrap(b"dseal/1 file-key\0", bytes(32))),
        "cannot-unwrap",
    ),
    "a second file key": (
        _recipients(lambda kit: kit.wrap(envelope._hpke_info(kit.header.salt), bytes(32))),
        "commitment-mismatch",
    ),
    "a body for two keys": (_two_key_body, "commitment-mismatch"),
    "an entry for somebody else": (_entry(kid="somebody"), "unknown-recipient"),
    "the same kid twice": (_recipients(_own, _own), "malformed"),
    "an entry of a patient's key in the reader's place": (
        _entry(kem=None, alg="A256GCM", sealed="A" * 80),
        "cannot-unwrap",
    ),
    # algorithms, of which nothing is negotiated
    "an unknown version": (_core("dseal/1", "dseal/2"), "malformed"),
    "an unknown kdf": (_core('"kdf":1', '"kdf":3'), "malformed"),
    "a weaker aead": (_core('"aead":2', '"aead":1'), "malformed"),
    "another aead": (_core('"aead":2', '"aead":3'), "malformed"),
    "another chunk size": (_core("1048576", "65536"), "malformed"),
    "the kem P-256": (_entry(kem=0x0010), "malformed"),
    "the kem MLKEM768-X25519": (_entry(kem=0x647A), "malformed"),
    "no kem at all": (_entry(kem=None), "malformed"),
    "a kem and an alg": (_entry(alg="A256GCM"), "malformed"),
    "another alg": (_entry(kem=None, alg="A128GCM", sealed="A" * 80), "malformed"),
    # grammar
    "an oversized header": (_oversized, "malformed"),
    "no recipient": (_header(recipients=[]), "malformed"),
    "a field too many": (_header(extra=1), "malformed"),
    "a field too many in the core": (_core("{", '{"extra":1,'), "malformed"),
    "a short commitment": (_header(commit="AAAA"), "malformed"),
    "a short wrapped key": (_entry(sealed="AAAA"), "malformed"),
    "an unknown type": (_core("photo", "thumbnail"), "malformed"),
    "a submission that is no name": (_core("sub-1", "a/b"), "malformed"),
}
