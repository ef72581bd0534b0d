"""An object store that fails: what is said, what is repeated, and that nothing is overwritten."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from clinic.records import blob_s3
from clinic.records.blob_s3 import ATTEMPTS, S3BlobStore, s3_client
from clinic.records.blobs import (
    BlobExistsError,
    BlobStoreAwayError,
    MissingBlobError,
    StorageFullError,
)
from clinic.records.db import new_id
from tests.faulty_store import FaultyWire, faulty_wire, half_a_body, lost_answer, refused, slow
from tools.object_store import ObjectStore
from tools.ports import free_port

BODY = bytes(range(256)) * 400
SLOW_DOWN = refused(503, "SlowDown")
INTERNAL = refused(500, "InternalError")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's pauses between attempts are not what is tested."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.fixture(scope="module")
def one_wire(object_store: ObjectStore) -> Iterator[FaultyWire]:
    with faulty_wire(object_store.endpoint) as wire:
        yield wire


@pytest.fixture
def wire(one_wire: FaultyWire) -> FaultyWire:
    """A wire without a fault yet."""
    one_wire.plan.clear()
    one_wire.methods.clear()
    return one_wire


@pytest.fixture(scope="module")
def wired(object_store: ObjectStore, one_wire: FaultyWire) -> S3BlobStore:
    return behind(object_store, one_wire.endpoint)


@pytest.fixture
def store(wired: S3BlobStore, wire: FaultyWire) -> S3BlobStore:
    """Behind the wire, and empty: each test has a prefix of its own."""
    assert not wire.plan
    return replace(wired, prefix=f"{new_id()}/")


def behind(server: ObjectStore, endpoint: str, **other_keys: str) -> S3BlobStore:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key, **other_keys}
    client = s3_client(endpoint=endpoint, region="us-east-1", **keys)
    return S3BlobStore(client, server.bucket, f"{new_id()}/")


def uses(store: S3BlobStore) -> dict[str, object]:
    one = new_id()
    return {
        "put": lambda: store.put(one, BODY),
        "get": lambda: store.get(one),
        "delete": lambda: store.delete(one),
        "ids": lambda: list(store.ids(older_than=0)),
    }


USES = ("put", "get", "delete", "ids")


@pytest.mark.parametrize("fault", [SLOW_DOWN, INTERNAL], ids=["slow down", "internal error"])
def test_a_passing_refusal_is_repeated_and_nobody_notices(
    store: S3BlobStore, wire: FaultyWire, fault: object
) -> None:
    one = new_id()
    wire.plan.extend([fault, fault])
    store.put(one, BODY)
    wire.plan.extend([fault, fault])

    assert store.get(one) == BODY
    assert wire.methods == ["PUT"] * 3 + ["GET"] * 3


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fault", [SLOW_DOWN, INTERNAL], ids=["slow down", "internal error"])
def test_a_refusal_that_stays_means_that_the_store_is_away(
    store: S3BlobStore, wire: FaultyWire, use: str, fault: object
) -> None:
    wire.plan.extend([fault] * ATTEMPTS)

    with pytest.raises(BlobStoreAwayError, match="refused"):
        uses(store)[use]()
    assert len(wire.methods) == ATTEMPTS


def test_a_put_whose_answer_was_lost_is_known_again_as_our_own(
    store: S3BlobStore, wire: FaultyWire
) -> None:
    one = new_id()
    wire.plan.append(lost_answer)

    store.put(one, BODY)

    assert wire.methods == ["PUT", "PUT", "GET"]
    assert store.get(one) == BODY


def test_a_repeated_put_never_passes_a_stranger_s_body_off_as_ours(
    store: S3BlobStore, wire: FaultyWire
) -> None:
    one = new_id()
    store.put(one, b"somebody else's")
    wire.plan.append(SLOW_DOWN)

    with pytest.raises(BlobExistsError):
        store.put(one, BODY)
    assert store.get(one) == b"somebody else's"


def test_of_many_at_once_exactly_one_puts_its_body(object_store: ObjectStore) -> None:
    store, one = behind(object_store, object_store.endpoint), new_id()

    def put(number: int) -> bytes | None:
        try:
            store.put(one, bytes([number]) * 50_000)
        except BlobExistsError:
            return None
        return bytes([number]) * 50_000

    with ThreadPoolExecutor(8) as pool:
        stored = [body for body in pool.map(put, range(8)) if body is not None]
    assert stored == [store.get(one)]


def test_a_body_that_was_spoilt_on_its_way_is_not_stored(
    store: S3BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = new_id()
    with monkeypatch.context() as spoilt:
        spoilt.setattr(
            store.client,
            "put_object",
            lambda put=store.client.put_object, **given: put(**{**given, "Body": b"spoilt"}),
        )
        with pytest.raises(BlobStoreAwayError, match="BadDigest"):
            store.put(one, BODY)
    with pytest.raises(MissingBlobError):
        store.get(one)


def test_half_a_body_is_never_taken_for_the_whole(store: S3BlobStore, wire: FaultyWire) -> None:
    one = new_id()
    store.put(one, BODY)
    wire.plan.append(half_a_body)

    with pytest.raises(BlobStoreAwayError):
        store.get(one)
    assert store.get(one) == BODY


def test_a_store_that_does_not_answer_in_time_is_away(
    object_store: ObjectStore, wire: FaultyWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_s3, "READ_SECONDS", 0.2)
    wire.plan.extend([slow(1.0)] * ATTEMPTS)

    with pytest.raises(BlobStoreAwayError, match="ReadTimeoutError"):
        behind(object_store, wire.endpoint).put(new_id(), BODY)


def test_a_store_that_is_down_is_away(object_store: ObjectStore) -> None:
    down = behind(object_store, f"http://127.0.0.1:{free_port()}")

    for use in uses(down).values():
        with pytest.raises(BlobStoreAwayError, match="EndpointConnectionError"):
            use()


@pytest.mark.parametrize(("status", "code"), [(507, "XMinioStorageFull"), (403, "QuotaExceeded")])
def test_a_store_without_room_is_full_and_keeps_nothing(
    store: S3BlobStore, wire: FaultyWire, status: int, code: str
) -> None:
    one = new_id()
    wire.plan.extend([refused(status, code)] * ATTEMPTS)

    with pytest.raises(StorageFullError, match=code):
        store.put(one, BODY)
    wire.plan.clear()
    with pytest.raises(MissingBlobError):
        store.get(one)


@pytest.mark.parametrize("use", ["put", "get", "ids"])
def test_a_wrong_bucket_is_a_fault_of_the_store_and_no_missing_photo(
    store: S3BlobStore, use: str
) -> None:
    elsewhere = replace(store, bucket="no-such-bucket")

    with pytest.raises(BlobStoreAwayError, match="NoSuchBucket"):
        uses(elsewhere)[use]()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("access_key", "InvalidAccessKeyId"), ("secret_key", "SignatureDoesNotMatch")],
)
def test_denied_keys_are_a_fault_of_the_store_and_never_quoted(
    object_store: ObjectStore, wrong: str, words: str
) -> None:
    denied = behind(object_store, object_store.endpoint, **{wrong: "hunter2-hunter2"})

    for use in uses(denied).values():
        with pytest.raises(BlobStoreAwayError, match=words) as refusal:
            use()
        assert "hunter2" not in str(refusal.value)


def test_a_key_that_may_not_list_makes_no_photo_missing(
    store: S3BlobStore, wire: FaultyWire
) -> None:
    """Amazon says 403 for a body that is missing, to a key that may not list the bucket."""
    wire.plan.append(refused(403, "AccessDenied"))

    with pytest.raises(BlobStoreAwayError, match="AccessDenied"):
        store.get(new_id())


def test_objects_of_others_in_the_bucket_are_left_alone(
    object_store: ObjectStore, store: S3BlobStore
) -> None:
    mine, theirs = (replace(store, prefix=f"{store.prefix}{who}/") for who in ("mine", "theirs"))
    one, other = new_id(), new_id()
    mine.put(one, b"mine")
    theirs.put(other, b"theirs")
    object_store.client.put_object(Bucket=store.bucket, Key=f"{mine.prefix}notes.txt", Body=b"x")

    assert list(mine.ids(older_than=2e10)) == [one]
    assert list(store.ids(older_than=2e10)) == []


def test_more_bodies_than_one_page_of_the_list(
    store: S3BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = store.client.get_paginator("list_objects_v2")
    ids = sorted(new_id() for _ in range(7))
    for one in ids:
        store.put(one, b"x")
    paginate = pages.paginate
    monkeypatch.setattr(
        pages, "paginate", lambda **given: paginate(**given, PaginationConfig={"PageSize": 3})
    )
    monkeypatch.setattr(store.client, "get_paginator", lambda _: pages)

    assert list(store.ids(older_than=2e10)) == ids
