"""Which store of sealed bodies an installation has: its settings say it."""

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blobs import BlobStore


class SecretText(Protocol):
    """Bytes that never show in a log."""

    @property
    def value(self) -> bytes: ...


class StoreSettings(Protocol):
    """The settings of the store: a folder, or the address of a bucket and how to enter it."""

    @property
    def blob_dir(self) -> Path | None: ...
    @property
    def blob_url(self) -> str | None: ...
    @property
    def blob_endpoint(self) -> str | None: ...
    @property
    def blob_region(self) -> str: ...
    @property
    def blob_access_key(self) -> SecretText | None: ...
    @property
    def blob_secret_key(self) -> SecretText | None: ...


def open_blob_store(settings: StoreSettings) -> BlobStore:
    """The store that these settings name. They were checked when they were read.

    Raises:
        LookupError: they name no store; this program was not meant to have one.

    """
    if settings.blob_url is not None:
        return _bucket(settings, settings.blob_url)
    if settings.blob_dir is not None:
        return FolderBlobStore(settings.blob_dir)
    raise LookupError("The settings name no store of photos.")


def _bucket(settings: StoreSettings, url: str) -> BlobStore:
    # Here, because an installation with a folder shall not load a cloud's library.
    from clinic.records.blob_s3 import S3BlobStore, s3_client  # noqa: PLC0415

    if settings.blob_access_key is None or settings.blob_secret_key is None:
        raise LookupError("The settings of the photo store lack its keys.")
    client = s3_client(
        endpoint=settings.blob_endpoint,
        region=settings.blob_region,
        access_key=settings.blob_access_key.value.decode(),
        secret_key=settings.blob_secret_key.value.decode(),
    )
    where = urlsplit(url)
    folder = where.path.strip("/")
    return S3BlobStore(client, where.netloc, f"{folder}/" if folder else "")
