"""What every back end of the store must do: the same tests for the folder and the object store."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blob_s3 import S3BlobStore
from clinic.records.blobs import BlobExistsError, BlobStore, MissingBlobError
from clinic.records.db import new_id
from tools.object_store import ObjectStore

SOON, LONG_AGO = 60.0, 3600.0


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "folder":
        return FolderBlobStore(tmp_path / "blobs")
    server: ObjectStore = request.getfixturevalue("object_store")
    return S3BlobStore(server.client, server.bucket, f"{new_id()}/")


def test_a_body_comes_back_as_it_was_put(store: BlobStore) -> None:
    bodies = {new_id(): body for body in (b"", b"sealed", bytes(range(256)) * 16_384)}
    for one, body in bodies.items():
        store.put(one, body)

    assert {one: store.get(one) for one in bodies} == bodies


def test_a_body_is_never_changed(store: BlobStore) -> None:
    one = new_id()
    store.put(one, b"first")

    for body in (b"second", b"first"):
        with pytest.raises(BlobExistsError, match=one):
            store.put(one, body)
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
    assert list(store.ids(older_than=time.time() + SOON)) == []


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 32, "a" * 31, "a" * 33, "a" * 32 + "\n", "a" * 31 + "/"]
)
def test_only_an_opaque_id_names_a_body(store: BlobStore, name: str) -> None:
    for use in (store.get, store.delete, lambda one: store.put(one, b"x")):
        with pytest.raises(ValueError, match="32 hex digits"):
            use(name)


def test_old_ids_are_listed_for_the_sweep_and_young_ones_are_not(store: BlobStore) -> None:
    ids = [new_id() for _ in range(5)]
    for one in ids:
        store.put(one, b"x")

    assert list(store.ids(older_than=time.time() + SOON)) == sorted(ids)
    assert list(store.ids(older_than=time.time() - LONG_AGO)) == []


def test_a_finished_body_is_never_swept_as_unfinished(store: BlobStore) -> None:
    one = new_id()
    store.put(one, b"sealed")

    assert store.sweep_unfinished(older_than=time.time() + SOON) == 0
    assert store.get(one) == b"sealed"


def test_bodies_that_are_put_at_the_same_time_are_all_there(store: BlobStore) -> None:
    bodies = {new_id(): bytes([number]) * 50_000 for number in range(16)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.put, bodies, bodies.values()))

    assert {one: store.get(one) for one in bodies} == bodies
