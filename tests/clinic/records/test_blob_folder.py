"""The folder of sealed bodies: once, whole or not at all (its contract is in test_blobs.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blobs import StorageFullError
from clinic.records.db import new_id
from tests.sources import ROOT


@pytest.fixture
def store(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "blobs")


def files(store: FolderBlobStore) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


def test_a_body_is_one_file_with_its_id_as_the_name(store: FolderBlobStore) -> None:
    one = new_id()
    store.put(one, b"sealed")

    assert [(path.name, path.read_bytes()) for path in files(store)] == [(one, b"sealed")]


def test_a_fault_before_the_rename_leaves_nothing(
    store: FolderBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    one = new_id()
    with pytest.raises(StorageFullError, match="No space left"):
        store.put(one, b"sealed")
    monkeypatch.undo()

    assert files(store) == []
    store.put(one, b"sealed")


FULL = """
import resource, sys
from pathlib import Path
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blobs import StorageFullError
store = FolderBlobStore(Path(sys.argv[1]))
store.put("a" * 32, b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.put("b" * 32, bytes(100_000))
except StorageFullError as full:
    print(full)
"""


def test_a_full_disk_refuses_the_new_body_and_keeps_the_old(store: FolderBlobStore) -> None:
    """The child may write no file beyond 4 KiB: the kernel's own refusal, in the middle."""
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(store.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "cannot take more: File too large" in found.stdout
    assert [path.name for path in files(store)] == ["a" * 32]
    assert store.get("a" * 32) == b"small"


def test_a_folder_that_cannot_be_made_counts_as_full(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(StorageFullError):
        FolderBlobStore(tmp_path / "blobs").put(new_id(), b"sealed")


def test_what_a_crash_left_half_written_is_swept_once_it_is_old(store: FolderBlobStore) -> None:
    store.put("a" * 32, b"body")
    body = next(store.folder.glob("??/??/*"))
    unfinished = body.with_name(f".{'b' * 32}.0123abcd")
    unfinished.write_bytes(b"half a bo")
    written = unfinished.stat().st_mtime

    assert store.sweep_unfinished(older_than=written - 1) == 0
    assert store.sweep_unfinished(older_than=written + 1) == 1
    assert [path.name for path in store.folder.glob("??/??/*")] == ["a" * 32]


def test_the_age_of_a_body_is_that_of_its_file(store: FolderBlobStore) -> None:
    old, young = new_id(), new_id()
    for one in (old, young):
        store.put(one, b"x")
    path = next(path for path in files(store) if path.name == old)
    os.utime(path, (1000, 1000))
    path.with_name(".half-written").write_bytes(b"x")

    assert list(store.ids(older_than=2000)) == [old]
