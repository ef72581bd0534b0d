import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinic import envelope
from clinic.envelope import (
    CHUNK_SIZE,
    MAX_HEADER_SIZE,
    TAG_SIZE,
    BadKey,
    BrokenChunk,
    CannotUnwrap,
    CommitmentMismatch,
    Context,
    EnvelopeError,
    Header,
    MalformedContainer,
    PublicKey,
    Recipient,
    Sealed,
    UnknownRecipient,
    WrongContext,
    body_digest,
    core_digest,
    open_body,
    parse_container,
    parse_header,
    seal,
    unwrap,
    unwrap_with_key,
    wrap,
    wrap_with_key,
)
from tests.two_key_body import body_with_two_keys

EPOCH = X25519PrivateKey.from_private_bytes(bytes(range(32)))
VIEWER = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PATIENT_KEY = bytes(range(2, 34))
PHOTO = Context(submission="sub-1", slot=0, type="photo")
SEALED_CHUNK = CHUNK_SIZE + TAG_SIZE


def public(kid: str, private: X25519PrivateKey) -> PublicKey:
    return PublicKey(kid=kid, raw=private.public_key().public_bytes_raw())


EPOCH_PUBLIC = public("epoch-1", EPOCH)
VIEWER_PUBLIC = public("viewer", VIEWER)


def seal_photo(plaintext: bytes, *, context: Context = PHOTO) -> Sealed:
    return seal(plaintext, context=context, recipients=[EPOCH_PUBLIC])


def open_photo(sealed: Sealed, *, expected: Context = PHOTO) -> bytes:
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    return open_body(sealed.header, sealed.body, file_key=file_key, expected=expected)


def flipped(data: bytes, *, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def three_chunks() -> bytes:
    return b"".join(bytes([n]) * CHUNK_SIZE for n in range(2)) + b"the end"


# --- what works ---


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE])
def test_what_was_sealed_opens_again_at_every_chunk_boundary(size: int) -> None:
    plaintext = bytes(i % 251 for i in range(min(size, 997))) * (size // 997 + 1)
    sealed = parse_container(seal_photo(plaintext[:size]).to_bytes())
    assert open_photo(sealed) == plaintext[:size]


@given(
    plaintext=st.binary(max_size=4096),
    slot=st.integers(0, 999),
    type_=st.sampled_from(sorted(envelope.OBJECT_TYPES)),
)
def test_any_object_of_any_type_survives_the_round_trip(
    plaintext: bytes, slot: int, type_: str
) -> None:
    context = Context(submission="sub-1", slot=slot, type=type_)
    sealed = parse_container(seal_photo(plaintext, context=context).to_bytes())
    assert open_photo(sealed, expected=context) == plaintext


def test_an_empty_object_is_one_empty_last_chunk() -> None:
    assert len(seal_photo(b"").body) == TAG_SIZE


def test_an_object_of_exactly_one_chunk_has_no_empty_chunk_behind_it() -> None:
    assert len(seal_photo(bytes(CHUNK_SIZE)).body) == SEALED_CHUNK


def test_header_and_body_can_be_kept_apart() -> None:
    sealed = seal_photo(b"lesion")
    header = parse_header(sealed.header.to_json())
    assert open_photo(Sealed(header=header, body=sealed.body)) == b"lesion"


def test_each_of_two_recipients_can_open() -> None:
    sealed = seal(b"lesion", context=PHOTO, recipients=[EPOCH_PUBLIC, VIEWER_PUBLIC])
    for kid, private in (("epoch-1", EPOCH), ("viewer", VIEWER)):
        file_key = unwrap(sealed.header, kid=kid, private_key=private)
        assert open_body(sealed.header, sealed.body, file_key=file_key, expected=PHOTO) == b"lesion"


def test_two_seals_of_one_photo_share_neither_key_nor_ciphertext() -> None:
    first, second = seal_photo(b"lesion"), seal_photo(b"lesion")
    assert first.body != second.body
    assert first.header.commit != second.header.commit


def test_the_container_shows_nothing_of_the_plaintext() -> None:
    marker = b"canary-of-the-lesion"
    assert marker not in seal_photo(marker * 9).to_bytes()


def test_a_rewrap_leaves_the_body_and_its_digests_identical() -> None:
    sealed = seal_photo(three_chunks())
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    patient = wrap_with_key(sealed.header, file_key, kid="patient-7.1", key=PATIENT_KEY)
    moved = sealed.header.adding(patient).without("epoch-1")

    assert core_digest(moved) == core_digest(sealed.header)
    assert body_digest(sealed.body) == body_digest(parse_container(sealed.to_bytes()).body)
    again = parse_header(moved.to_json())
    file_key = unwrap_with_key(again, kid="patient-7.1", key=PATIENT_KEY)
    opened = open_body(again, sealed.body, file_key=file_key, expected=PHOTO)
    assert opened == three_chunks()
    with pytest.raises(UnknownRecipient):
        unwrap(again, kid="epoch-1", private_key=EPOCH)


def test_a_grant_header_lists_the_viewer_alone() -> None:
    sealed = seal_photo(b"lesion")
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    granted = sealed.header.with_recipients(wrap(sealed.header, file_key, public_key=VIEWER_PUBLIC))
    assert [entry.kid for entry in granted.recipients] == ["viewer"]
    assert unwrap(granted, kid="viewer", private_key=VIEWER) == file_key


# --- tampering ---


@pytest.mark.parametrize("at", [0, CHUNK_SIZE, SEALED_CHUNK, 2 * SEALED_CHUNK, -1])
def test_a_flipped_bit_in_any_chunk_or_tag_is_refused(at: int) -> None:
    sealed = seal_photo(three_chunks())
    with pytest.raises(BrokenChunk):
        open_photo(replace(sealed, body=flipped(sealed.body, at=at)))


def test_a_flipped_bit_anywhere_in_the_header_is_refused() -> None:
    sealed = seal_photo(b"lesion")
    data = sealed.to_bytes()
    for at in range(len(data) - len(sealed.body)):
        with pytest.raises(EnvelopeError):
            open_photo(parse_container(flipped(data, at=at)))


def test_a_dropped_last_chunk_is_refused() -> None:
    sealed = seal_photo(three_chunks())
    with pytest.raises(BrokenChunk):
        open_photo(replace(sealed, body=sealed.body[: 2 * SEALED_CHUNK]))


@pytest.mark.parametrize("kept", [SEALED_CHUNK // 2, SEALED_CHUNK + 17, 2 * SEALED_CHUNK + 20])
def test_a_cut_inside_a_chunk_is_refused(kept: int) -> None:
    sealed = seal_photo(three_chunks())
    with pytest.raises(BrokenChunk):
        open_photo(replace(sealed, body=sealed.body[:kept]))


@pytest.mark.parametrize("kept", [0, 1, TAG_SIZE - 1, SEALED_CHUNK + 1, SEALED_CHUNK + TAG_SIZE])
def test_a_body_that_no_sealing_can_make_is_malformed(kept: int) -> None:
    header, body = seal_photo(three_chunks()).header, seal_photo(three_chunks()).body
    with pytest.raises(MalformedContainer):
        Sealed(header=header, body=body[:kept])


def test_two_swapped_chunks_are_refused() -> None:
    sealed = seal_photo(three_chunks())
    first, second = sealed.body[:SEALED_CHUNK], sealed.body[SEALED_CHUNK : 2 * SEALED_CHUNK]
    swapped = second + first + sealed.body[2 * SEALED_CHUNK :]
    with pytest.raises(BrokenChunk):
        open_photo(replace(sealed, body=swapped))


@pytest.mark.parametrize("extra", [b"x", b"x" * TAG_SIZE, b"x" * 100])
def test_appended_bytes_are_refused(extra: bytes) -> None:
    sealed = seal_photo(three_chunks())
    with pytest.raises(BrokenChunk):
        open_photo(replace(sealed, body=sealed.body + extra))


@pytest.mark.parametrize(
    "expected",
    [replace(PHOTO, submission="sub-2"), replace(PHOTO, slot=1), replace(PHOTO, type="rendition")],
)
def test_a_replay_as_another_object_is_refused(expected: Context) -> None:
    sealed = seal_photo(b"lesion")
    with pytest.raises(WrongContext):
        open_photo(sealed, expected=expected)


def test_an_edited_context_does_not_open_even_where_it_is_expected() -> None:
    sealed = seal_photo(b"lesion")
    edited = replace(sealed.header, core=sealed.header.core.replace("sub-1", "sub-2"))
    with pytest.raises(CannotUnwrap):
        unwrap(edited, kid="epoch-1", private_key=EPOCH)
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    with pytest.raises(CommitmentMismatch):
        open_body(
            edited, sealed.body, file_key=file_key, expected=replace(PHOTO, submission="sub-2")
        )


def test_another_files_wrapped_key_does_not_open() -> None:
    sealed, other = seal_photo(b"lesion"), seal_photo(b"naevus", context=replace(PHOTO, slot=1))
    transplanted = sealed.header.with_recipients(*other.header.recipients)
    with pytest.raises(CannotUnwrap):
        unwrap(transplanted, kid="epoch-1", private_key=EPOCH)


def test_a_wrapped_key_of_the_same_object_sealed_twice_breaks_the_commitment() -> None:
    sealed, again = seal_photo(b"lesion"), seal_photo(b"naevus")
    transplanted = sealed.header.with_recipients(*again.header.recipients)
    with pytest.raises(CommitmentMismatch):
        unwrap(transplanted, kid="epoch-1", private_key=EPOCH)


def test_a_key_wrapped_with_another_info_does_not_open() -> None:
    sealed = seal_photo(b"lesion")
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    wrapped = suite.encrypt(file_key, EPOCH.public_key(), b"dseal/1 file-key\x01" + bytes(32))
    forged = sealed.header.with_recipients(Recipient(kid="epoch-1", kem=0x20, sealed=wrapped))
    with pytest.raises(CannotUnwrap):
        unwrap(forged, kid="epoch-1", private_key=EPOCH)


def test_the_wrong_private_key_opens_nothing() -> None:
    with pytest.raises(CannotUnwrap):
        unwrap(seal_photo(b"lesion").header, kid="epoch-1", private_key=VIEWER)


def test_a_body_made_for_two_file_keys_opens_under_the_committed_one_alone() -> None:
    first, second = bytes(32), bytes([7]) * 32
    core = PHOTO.to_core()
    salt = envelope.core_salt(core)
    keys = [envelope._derive(key, salt, "payload") for key in (first, second)]
    body = body_with_two_keys(*keys)
    header = Header(
        core=core,
        commit=envelope._derive(first, salt, "commit"),
        recipients=(
            envelope._wrap(salt, first, EPOCH_PUBLIC),
            envelope._wrap(salt, second, VIEWER_PUBLIC),
        ),
    )
    # Both tags are valid: without the commitment the two readers would see two pictures.
    pictures = {AESGCM(key).decrypt(bytes(11) + b"\x01", body, None) for key in keys}
    assert len(pictures) == 2
    assert open_body(header, body, file_key=first, expected=PHOTO) in pictures
    with pytest.raises(CommitmentMismatch):
        open_body(header, body, file_key=second, expected=PHOTO)
    with pytest.raises(CommitmentMismatch):
        unwrap(header, kid="viewer", private_key=VIEWER)


# --- a patient's key ---


@pytest.fixture
def patient_header() -> Header:
    sealed = seal_photo(b"lesion")
    file_key = unwrap(sealed.header, kid="epoch-1", private_key=EPOCH)
    return sealed.header.adding(
        wrap_with_key(sealed.header, file_key, kid="patient-7.1", key=PATIENT_KEY)
    )


def test_a_patient_entry_opens_under_the_patients_key_alone(patient_header: Header) -> None:
    file_key = unwrap_with_key(patient_header, kid="patient-7.1", key=PATIENT_KEY)
    assert file_key == unwrap(patient_header, kid="epoch-1", private_key=EPOCH)
    with pytest.raises(CannotUnwrap):
        unwrap_with_key(patient_header, kid="patient-7.1", key=bytes(32))


def test_a_patient_entry_under_another_version_of_the_key_id_is_refused(
    patient_header: Header,
) -> None:
    renamed = replace(patient_header.recipient("patient-7.1"), kid="patient-7.2")
    with pytest.raises(CannotUnwrap):
        unwrap_with_key(patient_header.adding(renamed), kid="patient-7.2", key=PATIENT_KEY)


def test_a_patient_entry_does_not_move_to_another_object(patient_header: Header) -> None:
    other = seal_photo(b"naevus", context=replace(PHOTO, slot=1)).header
    moved = other.adding(patient_header.recipient("patient-7.1"))
    with pytest.raises(CannotUnwrap):
        unwrap_with_key(moved, kid="patient-7.1", key=PATIENT_KEY)


def test_an_entry_is_not_opened_by_the_other_kind_of_key(patient_header: Header) -> None:
    with pytest.raises(CannotUnwrap):
        unwrap(patient_header, kid="patient-7.1", private_key=EPOCH)
    with pytest.raises(CannotUnwrap):
        unwrap_with_key(patient_header, kid="epoch-1", key=PATIENT_KEY)


def test_a_patients_key_of_16_bytes_is_refused(patient_header: Header) -> None:
    with pytest.raises(BadKey):
        unwrap_with_key(patient_header, kid="patient-7.1", key=bytes(16))


def test_a_file_key_that_the_header_does_not_commit_to_is_never_wrapped() -> None:
    header = seal_photo(b"lesion").header
    with pytest.raises(CommitmentMismatch):
        wrap(header, bytes(32), public_key=VIEWER_PUBLIC)
    with pytest.raises(CommitmentMismatch):
        wrap_with_key(header, bytes(32), kid="patient-7.1", key=PATIENT_KEY)


# A low-order point would make a shared secret that anybody knows (RFC 7748, section 6.1).
@pytest.mark.parametrize("raw", [bytes(32), b"\x01" + bytes(31), b"", bytes(31), b"x" * 33])
def test_a_useless_public_key_is_refused(raw: bytes) -> None:
    with pytest.raises(BadKey):
        seal(b"lesion", context=PHOTO, recipients=[PublicKey(kid="viewer", raw=raw)])


# --- grammar ---


def header_with(**changes: object) -> str:
    fields = json.loads(seal_photo(b"lesion").header.to_json())
    return json.dumps({**fields, **changes})


def core_with(**changes: object) -> str:
    return header_with(core=json.dumps({**json.loads(PHOTO.to_core()), **changes}))


def recipient_with(**changes: object) -> str:
    entry = json.loads(seal_photo(b"lesion").header.to_json())["recipients"][0] | changes
    return header_with(recipients=[{k: v for k, v in entry.items() if v is not None}])


CTX = {"submission": "sub-1", "slot": 0, "type": "photo"}


@pytest.mark.parametrize(
    "text",
    [
        core_with(v="dseal/2"),
        core_with(v=None),
        core_with(kdf=2),
        core_with(kdf=1.0),
        core_with(kdf=True),
        core_with(aead=1),
        core_with(chunk=65536),
        core_with(extra=1),
        core_with(ctx=None),
        core_with(ctx=CTX | {"type": "thumbnail"}),
        core_with(ctx=CTX | {"type": ["photo"]}),
        core_with(ctx=CTX | {"slot": -1}),
        core_with(ctx=CTX | {"slot": True}),
        core_with(ctx=CTX | {"slot": "0"}),
        core_with(ctx=CTX | {"slot": 10**9}),
        core_with(ctx=CTX | {"submission": ""}),
        core_with(ctx=CTX | {"submission": "a/../b"}),
        core_with(ctx=CTX | {"submission": "x" * 129}),
        core_with(ctx=CTX | {"submission": 7}),
        core_with(ctx=CTX | {"patient": "p"}),
        header_with(core={"v": "dseal/1"}),
        header_with(core="{"),
        header_with(core="\u00e9"),
        header_with(commit="AAAA"),
        header_with(commit="*" * 44),
        header_with(commit=None),
        header_with(recipients=[]),
        header_with(recipients={}),
        header_with(recipients=["epoch-1"]),
        header_with(extra=1),
        recipient_with(kem=0x647A),
        recipient_with(kem=True),
        recipient_with(kem="32"),
        recipient_with(kem=None),
        recipient_with(kem=None, alg="A128GCM"),
        recipient_with(kem=None, alg=32),
        recipient_with(alg="A256GCM"),
        recipient_with(kid=""),
        recipient_with(kid=1),
        recipient_with(kid="two words"),
        recipient_with(sealed="AAAA"),
        recipient_with(sealed=1),
        recipient_with(extra=1),
        "",
        "[]",
        "null",
        "[" * 60_000,
        "{" + " " * MAX_HEADER_SIZE + "}",
        '{"core":' + "9" * 5000 + "}",
    ],
)
def test_a_header_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(MalformedContainer):
        parse_header(text)


def test_the_header_that_the_grammar_cases_start_from_is_good() -> None:
    assert parse_header(core_with()).context == PHOTO
    assert parse_header(recipient_with()).recipients[0].kid == "epoch-1"


def test_a_repeated_field_is_refused() -> None:
    text = seal_photo(b"lesion").header.to_json()
    with pytest.raises(MalformedContainer):
        parse_header(text[:-1] + ',"commit":"' + "A" * 43 + '="}')


def test_a_second_spelling_of_the_same_base64_is_refused() -> None:
    text = seal_photo(b"lesion").header.to_json()
    commit = json.loads(text)["commit"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    respelt = commit[:42] + alphabet[alphabet.index(commit[42]) + 1] + "="
    with pytest.raises(MalformedContainer):
        parse_header(text.replace(commit, respelt))


def test_the_same_kid_twice_is_refused() -> None:
    header = seal_photo(b"lesion").header
    with pytest.raises(MalformedContainer):
        header.adding(header.recipients[0])
    with pytest.raises(MalformedContainer):
        seal(b"lesion", context=PHOTO, recipients=[EPOCH_PUBLIC, public("epoch-1", VIEWER)])


def test_nobody_is_no_recipient() -> None:
    with pytest.raises(MalformedContainer):
        seal(b"lesion", context=PHOTO, recipients=[])
    with pytest.raises(MalformedContainer):
        seal_photo(b"lesion").header.without("epoch-1")


def test_a_header_that_outgrows_its_limit_is_not_written() -> None:
    header = seal_photo(b"lesion").header
    entry = header.recipients[0]
    crowd = header.with_recipients(*(replace(entry, kid=f"k{n}") for n in range(600)))
    with pytest.raises(MalformedContainer):
        crowd.to_json()


@pytest.mark.parametrize("length", [0, 5, MAX_HEADER_SIZE + 1, 2**32 - 1])
def test_a_header_length_that_does_not_fit_is_refused(length: int) -> None:
    data = seal_photo(b"lesion").to_bytes()
    with pytest.raises(MalformedContainer):
        parse_container(length.to_bytes(4, "big") + data[4:])


def test_a_header_that_is_long_enough_but_over_the_limit_is_refused_by_its_length() -> None:
    length = (MAX_HEADER_SIZE + 1).to_bytes(4, "big")
    with pytest.raises(MalformedContainer, match="length"):
        parse_container(length + b" " * MAX_HEADER_SIZE + seal_photo(b"lesion").to_bytes())


@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=b"\x00\x00\x00\x02{}")
@example(data=b"\x00\x00\x00\x01\xff")
def test_arbitrary_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        parse_container(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(data=st.data())
def test_a_header_with_any_one_field_replaced_is_refused_in_words(data: st.DataObject) -> None:
    fields = json.loads(seal_photo(b"lesion").header.to_json())
    core = json.loads(fields["core"])
    target = data.draw(st.sampled_from([fields, core, core["ctx"], fields["recipients"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
    if isinstance(fields["core"], str) and target is not fields:
        fields["core"] = json.dumps(core)
    try:
        parse_header(json.dumps(fields))
    except EnvelopeError:
        return
    assert target in (core["ctx"], fields["recipients"][0])


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_any_changed_byte_of_a_container_is_refused(at: int, value: int) -> None:
    sealed = seal_photo(b"lesion")
    data = sealed.to_bytes()
    at %= len(data)
    changed = data[:at] + bytes([value]) + data[at + 1 :]
    if changed == data:
        return
    with pytest.raises(EnvelopeError):
        open_photo(parse_container(changed))


# --- fixed vector: what was sealed once must stay readable ---

VECTOR_CORE = (
    '{"v":"dseal/1","kdf":1,"aead":2,"chunk":1048576,'
    '"ctx":{"submission":"sub-1","slot":0,"type":"photo"}}'
)


def test_the_derivations_and_the_core_text_stay_as_they_were_first_written() -> None:
    salt = envelope.core_salt(VECTOR_CORE)
    assert PHOTO.to_core() == VECTOR_CORE
    assert (
        envelope._derive(bytes(32), salt, "commit").hex()
        == "a6b78cc53b81ca304737df5e9742dd3f17538689a28d90af0c60ae4e2b1e9d77"
    )
    assert (
        envelope._derive(bytes(32), salt, "payload").hex()
        == "e664b7e6417e4ede2e1fda5155670f6bd4b77315bafa3358b66dbc81cbd3f962"
    )
