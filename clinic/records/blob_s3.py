"""Sealed bodies in an object store that speaks S3, shared by the programs of many machines.

A body is one object: a single PUT with its SHA-256, which the store checks, and `If-None-Match: *`
(RFC 9110, section 13.1.2), which makes it refuse a second body of the same id. The store therefore
must know conditional writes, as S3 does since 2024.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clinic.records.blobs import (
    BlobExistsError,
    BlobStoreAwayError,
    MissingBlobError,
    StorageFullError,
    checked_id,
    is_id,
)

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
ATTEMPTS = 3
CONNECTIONS = 16  # as many as the portal has threads

_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"})


@dataclass(frozen=True)
class S3BlobStore:
    """Objects named by their id behind `prefix` ('' or 'some/where/') in `bucket`."""

    client: Any
    bucket: str
    prefix: str

    def put(self, object_id: str, body: bytes) -> None:
        """Store `body` in one conditional request.

        A repeated request may find what the first one stored before its answer was lost.
        """
        with _in_our_words(object_id):
            try:
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=self._key(object_id),
                    Body=body,
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
                )
            except ClientError as error:
                if not (_was_repeated(error) and _code(error) == "PreconditionFailed"):
                    raise
                if self.get(object_id) != body:
                    raise

    def get(self, object_id: str) -> bytes:
        with _in_our_words(object_id):
            answer = self.client.get_object(Bucket=self.bucket, Key=self._key(object_id))
            with closing(answer["Body"]) as stream:
                body: bytes = stream.read()
        return body

    def delete(self, object_id: str) -> None:
        with _in_our_words(object_id):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(object_id))

    def ids(self, *, older_than: float) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2")
        with _in_our_words("list"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for found in page.get("Contents", []):
                    name = found["Key"].removeprefix(self.prefix)
                    if is_id(name) and found["LastModified"].timestamp() < older_than:
                        yield name

    def sweep_unfinished(self, *, older_than: float) -> int:  # noqa: ARG002 - of the interface
        """Nothing to do: a single PUT is stored whole or not at all."""
        return 0

    def _key(self, object_id: str) -> str:
        return self.prefix + checked_id(object_id)


def s3_client(*, endpoint: str | None, region: str, access_key: str, secret_key: str) -> Any:
    """A client whose every request ends in time; without an endpoint, Amazon's own.

    Servers of other makers are asked by path: their bucket has no host name of its own.
    """
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )


@contextmanager
def _in_our_words(object_id: str) -> Iterator[None]:
    """Say what the store answered as one of the few errors of `clinic.records.blobs`.

    Only names of errors go on: a message of the library may quote an address or a key.
    """
    try:
        yield
    except ClientError as error:
        raise _meaning(error, object_id) from error
    except BotoCoreError as error:
        raise BlobStoreAwayError(f"The object store is away: {type(error).__name__}.") from error


def _meaning(error: ClientError, object_id: str) -> Exception:
    code = _code(error)
    if code == "NoSuchKey":
        return MissingBlobError(f"The body of object {object_id} is missing.")
    if code == "PreconditionFailed":
        return BlobExistsError(f"Object {object_id} has a body already.")
    if code in _FULL:
        return StorageFullError(f"The photo store cannot take more: {code}")
    return BlobStoreAwayError(f"The object store refused: {code}.")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _was_repeated(error: ClientError) -> bool:
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))
