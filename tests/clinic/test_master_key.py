"""The master key and its file."""

from pathlib import Path

import pytest

from clinic.master_key import LocalMasterKey, MasterKeyError, read_master_key

MASTER = LocalMasterKey(b"m" * 32)


def key_file(folder: Path, *, content: bytes = b"m" * 32, mode: int = 0o400) -> Path:
    path = folder / "master.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_what_was_wrapped_opens_under_its_context() -> None:
    wrapped = MASTER.wrap(b"secret", context="epoch-1")

    assert b"secret" not in wrapped
    assert MASTER.unwrap(wrapped, context="epoch-1") == b"secret"
    assert wrapped != MASTER.wrap(b"secret", context="epoch-1")


def test_under_another_context_it_does_not_open() -> None:
    wrapped = MASTER.wrap(b"secret", context="epoch-1")
    with pytest.raises(MasterKeyError, match="epoch-2"):
        MASTER.unwrap(wrapped, context="epoch-2")


def test_under_another_key_it_does_not_open() -> None:
    wrapped = MASTER.wrap(b"secret", context="epoch-1")
    with pytest.raises(MasterKeyError):
        LocalMasterKey(b"n" * 32).unwrap(wrapped, context="epoch-1")


@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    wrapped = bytearray(MASTER.wrap(b"secret", context="epoch-1"))
    wrapped[place] ^= 1
    with pytest.raises(MasterKeyError):
        MASTER.unwrap(bytes(wrapped), context="epoch-1")


def test_the_file_s_key_is_used(tmp_path: Path) -> None:
    assert read_master_key(key_file(tmp_path)) == MASTER


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o410])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(MasterKeyError, match="chmod 0400"):
        read_master_key(key_file(tmp_path, mode=mode))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_file_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(MasterKeyError, match="32 bytes"):
        read_master_key(key_file(tmp_path, content=b"m" * size))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"master\.key"):
        read_master_key(tmp_path / "master.key")


def test_the_key_never_shows() -> None:
    assert "mmm" not in repr(MASTER)
