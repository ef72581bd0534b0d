"""The key files of an installation."""

import base64
import stat
from pathlib import Path

import pytest

from clinic.key_files import (
    MASTER_FILE,
    ROOT_PRIVATE_FILE,
    ROOT_PUBLIC_FILE,
    SECRET_FILES,
    KeyFilesExistError,
    add_master_key,
    create_key_files,
    read_root_private,
    read_root_public,
    retire_master_keys,
)
from clinic.master_key import MasterKeyError, read_master_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "keys"


def test_every_file_is_its_owner_s_alone(folder: Path) -> None:
    create_key_files(folder)

    names = {*SECRET_FILES, MASTER_FILE, ROOT_PRIVATE_FILE, ROOT_PUBLIC_FILE}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_every_key_is_random_and_its_own(folder: Path, tmp_path: Path) -> None:
    create_key_files(folder)
    create_key_files(tmp_path / "second")

    contents = [
        path.read_bytes() for one in (folder, tmp_path / "second") for path in one.iterdir()
    ]
    assert len(set(contents)) == len(contents)
    for name in SECRET_FILES:
        assert len(base64.b64decode((folder / name).read_bytes())) == 32


def test_the_files_are_what_the_programs_read(folder: Path) -> None:
    public = create_key_files(folder)

    read_master_key(folder / MASTER_FILE)
    root = read_root_private(folder / ROOT_PRIVATE_FILE)
    assert base64.b64encode(root.public_key().public_bytes_raw()).decode() == public
    assert (folder / ROOT_PUBLIC_FILE).read_text(encoding="ascii") == public


def test_keys_are_never_overwritten(folder: Path) -> None:
    create_key_files(folder)
    before = (folder / MASTER_FILE).read_bytes()

    with pytest.raises(KeyFilesExistError):
        create_key_files(folder)
    assert (folder / MASTER_FILE).read_bytes() == before


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(KeyFilesExistError):
        create_key_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_new_master_key_stands_in_front_of_the_old_one(folder: Path) -> None:
    create_key_files(folder)
    path = folder / MASTER_FILE
    old = read_master_key(path)

    added = add_master_key(path)

    both = read_master_key(path)
    assert both.ids() == (added, *old.ids())
    assert both.previous == (old.key,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert not list(folder.glob(".*"))


def test_retiring_leaves_the_newest_master_key_alone(folder: Path) -> None:
    create_key_files(folder)
    path = folder / MASTER_FILE
    (old,) = read_master_key(path).ids()
    added = add_master_key(path)

    assert retire_master_keys(path) == (old,)
    assert read_master_key(path).ids() == (added,)
    assert retire_master_keys(path) == ()


def test_an_exchange_that_was_cut_off_is_repeated(folder: Path) -> None:
    create_key_files(folder)
    path = folder / MASTER_FILE
    (folder / f".{MASTER_FILE}.new").write_bytes(b"half a key")

    add_master_key(path)

    assert len(read_master_key(path).ids()) == 2


def test_a_file_that_is_no_master_key_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"mine")
    path.chmod(0o400)
    for change in (add_master_key, retire_master_keys):
        with pytest.raises(MasterKeyError, match="32 bytes"):
            change(path)
    assert path.read_bytes() == b"mine"


def test_the_root_s_public_key_is_read_back(folder: Path) -> None:
    public = create_key_files(folder)
    assert read_root_public(folder / ROOT_PUBLIC_FILE) == base64.b64decode(public)


@pytest.mark.parametrize("content", [b"", b"*", b"AAAA"])
def test_what_is_no_public_key_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.pub"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"holds no .*public key"):
        read_root_public(path)
