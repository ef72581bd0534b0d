"""Master keys: what they wrap names them, and a file holds several while they are exchanged."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clinic.master_key import (
    UNNAMED,
    FileMasterKey,
    LocalMasterKey,
    MasterKeyError,
    key_id_of,
    prefix_of,
    read_master_key,
)

MASTER = LocalMasterKey(b"m" * 32)
OTHER = LocalMasterKey(b"n" * 32)
BOTH = LocalMasterKey(b"n" * 32, (b"m" * 32,))


def key_file(folder: Path, *, content: bytes = b"m" * 32, mode: int = 0o400) -> Path:
    path = folder / "master.key"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def wrapped_by(master: LocalMasterKey) -> bytes:
    return master.wrap(b"secret", context="epoch-1", key_id=master.ids()[0])


def test_what_was_wrapped_opens_under_its_context() -> None:
    wrapped = wrapped_by(MASTER)

    assert b"secret" not in wrapped
    assert MASTER.unwrap(wrapped, context="epoch-1") == b"secret"
    assert wrapped != wrapped_by(MASTER)


def test_under_another_context_it_does_not_open() -> None:
    with pytest.raises(MasterKeyError, match="epoch-2"):
        MASTER.unwrap(wrapped_by(MASTER), context="epoch-2")


def test_under_another_key_it_does_not_open_and_the_message_names_the_one_needed() -> None:
    with pytest.raises(MasterKeyError) as refused:
        OTHER.unwrap(wrapped_by(MASTER), context="epoch-1")

    assert f"{MASTER.ids()[0]} is needed for epoch-1" in str(refused.value)
    assert f"at hand is {OTHER.ids()[0]}" in str(refused.value)


def test_a_wrapped_value_names_its_key() -> None:
    wrapped = wrapped_by(MASTER)

    assert key_id_of(wrapped) == MASTER.ids()[0] != OTHER.ids()[0]
    assert wrapped.startswith(prefix_of(MASTER.ids()[0]))


def test_several_keys_open_what_each_of_them_wrapped() -> None:
    assert BOTH.ids() == (OTHER.ids()[0], MASTER.ids()[0])
    for one in (MASTER, OTHER):
        assert BOTH.unwrap(wrapped_by(one), context="epoch-1") == b"secret"


def test_any_of_several_keys_can_be_told_to_wrap() -> None:
    old = MASTER.ids()[0]
    wrapped = BOTH.wrap(b"secret", context="epoch-1", key_id=old)

    assert MASTER.unwrap(wrapped, context="epoch-1") == b"secret"


def test_a_key_that_is_not_at_hand_wraps_nothing() -> None:
    with pytest.raises(MasterKeyError, match=MASTER.ids()[0]):
        OTHER.wrap(b"secret", context="epoch-1", key_id=MASTER.ids()[0])


def test_what_was_wrapped_before_keys_had_ids_opens_under_any_key_at_hand() -> None:
    nonce = bytes(12)
    wrapped = prefix_of(UNNAMED) + nonce
    wrapped += AESGCM(b"m" * 32).encrypt(nonce, b"secret", b"epoch-1")

    assert BOTH.unwrap(wrapped, context="epoch-1") == b"secret"
    with pytest.raises(MasterKeyError, match="does not open"):
        OTHER.unwrap(wrapped, context="epoch-1")


@pytest.mark.parametrize("place", [0, 1, 8, 9, 20, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    wrapped = bytearray(wrapped_by(MASTER))
    wrapped[place] ^= 1
    with pytest.raises(MasterKeyError):
        BOTH.unwrap(bytes(wrapped), context="epoch-1")


def test_the_file_s_key_is_used(tmp_path: Path) -> None:
    assert read_master_key(key_file(tmp_path)) == MASTER


def test_a_file_holds_the_newest_key_first(tmp_path: Path) -> None:
    assert read_master_key(key_file(tmp_path, content=b"n" * 32 + b"m" * 32)) == BOTH


def test_a_new_file_counts_without_a_restart(tmp_path: Path) -> None:
    master = FileMasterKey(key_file(tmp_path))
    wrapped = master.wrap(b"secret", context="epoch-1", key_id=MASTER.ids()[0])

    key_file(tmp_path, content=b"n" * 32 + b"m" * 32)
    assert master.ids() == BOTH.ids()
    assert master.unwrap(wrapped, context="epoch-1") == b"secret"

    key_file(tmp_path, content=b"n" * 32)
    with pytest.raises(MasterKeyError, match="is needed"):
        master.unwrap(wrapped, context="epoch-1")


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o410])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(MasterKeyError, match="chmod 0400"):
        read_master_key(key_file(tmp_path, mode=mode))


@pytest.mark.parametrize("size", [0, 16, 31, 33, 63])
def test_a_file_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(MasterKeyError, match="32 bytes"):
        read_master_key(key_file(tmp_path, content=b"m" * size))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"master\.key"):
        read_master_key(tmp_path / "master.key")


def test_the_keys_never_show() -> None:
    assert "mmm" not in repr(BOTH)
    assert "nnn" not in repr(BOTH)
