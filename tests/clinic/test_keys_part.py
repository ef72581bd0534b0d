"""The key files travel sealed, apart from everything that they open."""

import stat
from pathlib import Path

import pytest

from clinic.key_files import (
    MASTER_FILE,
    ROOT_PRIVATE_FILE,
    KeyFilesExistError,
    add_master_key,
    create_key_files,
    read_key_files,
    write_key_files,
)
from clinic.keys_part import master_keys_in, open_keys, seal_keys
from clinic.sealed_part import PartError, new_identity, seal_part

IDENTITY, RECIPIENT = new_identity()


def test_the_key_files_come_back_for_their_owner_alone(tmp_path: Path) -> None:
    create_key_files(tmp_path / "keys")
    seal_keys(read_key_files(tmp_path / "keys"), tmp_path / "keys.age", recipient=RECIPIENT)

    found = open_keys(tmp_path / "keys.age", identity=IDENTITY)
    write_key_files(tmp_path / "again", found)

    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (tmp_path / "keys" / path.name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    missing = {one.name for one in (tmp_path / "keys").iterdir()} - set(found)
    assert missing == {ROOT_PRIVATE_FILE}


def test_the_part_tells_which_master_keys_it_holds(tmp_path: Path) -> None:
    create_key_files(tmp_path / "keys")
    added = add_master_key(tmp_path / "keys" / MASTER_FILE)
    seal_keys(read_key_files(tmp_path / "keys"), tmp_path / "keys.age", recipient=RECIPIENT)

    newest, _ = master_keys_in(open_keys(tmp_path / "keys.age", identity=IDENTITY))

    assert newest == added


def test_keys_are_never_written_over(tmp_path: Path) -> None:
    create_key_files(tmp_path / "keys")
    with pytest.raises(KeyFilesExistError, match="not empty"):
        write_key_files(tmp_path / "keys", {"master.key": b"m"})


@pytest.mark.parametrize("content", [b"nonsense", b"[]", b'{"master.key": "bQ=="}'])
def test_a_part_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    seal_part([content], tmp_path / "part", recipient=RECIPIENT)
    with pytest.raises(PartError, match="holds no key files"):
        open_keys(tmp_path / "part", identity=IDENTITY)
