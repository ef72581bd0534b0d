"""The store of sealed bodies: once, whole or not at all."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinic.records.blobs import BlobExistsError, BlobStore, MissingBlobError, StorageFullError
from clinic.records.db import new_id
from tests.sources import ROOT


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files(store: BlobStore) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


def test_a_body_comes_back_as_it_was_put(store: BlobStore) -> None:
    one = new_id()
    store.put(one, b"sealed")

    assert store.get(one) == b"sealed"
    assert [path.name for path in files(store)] == [one]


def test_a_body_is_never_changed(store: BlobStore) -> None:
    one = new_id()
    store.put(one, b"first")

    with pytest.raises(BlobExistsError):
        store.put(one, b"second")
    assert store.get(one) == b"first"


def test_a_missing_body_is_said_by_its_id(store: BlobStore) -> None:
    one = new_id()
    with pytest.raises(MissingBlobError, match=one):
        store.get(one)


def test_a_deleted_body_is_gone_and_deleting_twice_is_no_fault(store: BlobStore) -> None:
    one = new_id()
    store.put(one, b"sealed")
    store.delete(one)
    store.delete(one)
    with pytest.raises(MissingBlobError):
        store.get(one)


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 32, "a" * 31, "a" * 33, "a" * 32 + "\n", "a" * 31 + "/"]
)
def test_only_an_opaque_id_names_a_body(store: BlobStore, name: str) -> None:
    for use in (store.get, store.delete, lambda one: store.put(one, b"x")):
        with pytest.raises(ValueError, match="32 hex digits"):
            use(name)


def test_a_fault_before_the_rename_leaves_nothing(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
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
from clinic.records.blobs import BlobStore, StorageFullError
store = BlobStore(Path(sys.argv[1]))
store.put("a" * 32, b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.put("b" * 32, bytes(100_000))
except StorageFullError as full:
    print(full)
"""


def test_a_full_disk_refuses_the_new_body_and_keeps_the_old(store: BlobStore) -> None:
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
        BlobStore(tmp_path / "blobs").put(new_id(), b"sealed")


def test_what_a_crash_left_half_written_is_swept_once_it_is_old(store: BlobStore) -> None:
    store.put("a" * 32, b"body")
    body = next(store.folder.glob("??/??/*"))
    unfinished = body.with_name(f".{'b' * 32}.0123abcd")
    unfinished.write_bytes(b"half a bo")
    written = unfinished.stat().st_mtime

    assert store.sweep_unfinished(older_than=written - 1) == 0
    assert store.sweep_unfinished(older_than=written + 1) == 1
    assert [path.name for path in store.folder.glob("??/??/*")] == ["a" * 32]


def test_old_ids_are_listed_for_the_sweep(store: BlobStore) -> None:
    old, young = new_id(), new_id()
    for one in (old, young):
        store.put(one, b"x")
    path = next(path for path in files(store) if path.name == old)
    os.utime(path, (1000, 1000))
    path.with_name(".half-written").write_bytes(b"x")

    assert list(store.ids(older_than=time.time() - 60)) == [old]
    assert sorted(store.ids(older_than=time.time() + 60)) == sorted([old, young])
