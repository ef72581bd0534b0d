"""The settings choose the store, and a folder loads no cloud's library."""

import subprocess
import sys
from pathlib import Path

import pytest

from clinic.records.blob_choice import open_blob_store
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blob_s3 import S3BlobStore
from clinic.records.db import new_id
from config import EXPORT, KEEPER, Settings
from tests.sources import ROOT
from tests.test_config import IN_A_BUCKET, good
from tools.object_store import ObjectStore


def test_a_folder_is_opened_as_a_folder() -> None:
    assert open_blob_store(Settings.from_env(EXPORT, good())) == FolderBlobStore(Path("/srv/blobs"))


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://photos", "photos", ""),
        ("s3://photos/", "photos", ""),
        ("s3://photos/clinic", "photos", "clinic/"),
        ("s3://photos/a/b/", "photos", "a/b/"),
    ],
)
def test_an_address_names_bucket_and_prefix(url: str, bucket: str, prefix: str) -> None:
    store = open_blob_store(Settings.from_env(EXPORT, good(**{**IN_A_BUCKET, "blob_url": url})))

    assert isinstance(store, S3BlobStore)
    assert (store.bucket, store.prefix) == (bucket, prefix)


def test_without_an_endpoint_it_is_amazon_s_own_in_the_region() -> None:
    changed = {**IN_A_BUCKET, "blob_endpoint": None, "blob_region": "eu-central-1"}
    store = open_blob_store(Settings.from_env(EXPORT, good(**changed)))

    assert isinstance(store, S3BlobStore)
    assert store.client.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"


def test_a_store_opened_by_settings_works(object_store: ObjectStore) -> None:
    given = {**good(environment="demo", blob_dir=None), **object_store.settings("clinic")}
    store, one = open_blob_store(Settings.from_env(EXPORT, given)), new_id()

    store.put(one, b"sealed")

    found = object_store.client.get_object(Bucket=object_store.bucket, Key=f"clinic/{one}")
    assert found["Body"].read() == b"sealed"


def test_a_program_without_a_store_is_told_so() -> None:
    with pytest.raises(LookupError, match="no store"):
        open_blob_store(Settings.from_env(KEEPER, good(blob_dir=None)))


def test_a_folder_never_loads_the_object_store_s_library() -> None:
    code = """
import sys
import web.app
from clinic.records.blob_choice import open_blob_store
from config import EXPORT, Settings
from tests.test_config import good
open_blob_store(Settings.from_env(EXPORT, good()))
assert not [name for name in sys.modules if name.startswith("boto")]
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
