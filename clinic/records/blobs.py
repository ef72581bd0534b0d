"""The store of sealed bodies: what every back end does, and how it fails.

Bodies are ciphertext, named by an opaque id, written once and never changed. They lie in a folder
or in an object store: `clinic.records.blob_choice` makes the one that the settings name.
"""

import re
from collections.abc import Iterator
from typing import Protocol

_NAME = re.compile(r"[0-9a-f]{32}\Z")


class StorageFullError(Exception):
    """The store has no room; nothing was stored."""


class BlobExistsError(Exception):
    """A body with this id is stored already; bodies are never changed."""


class MissingBlobError(Exception):
    """A row names a body that is not in the store."""


class BlobStoreAwayError(Exception):
    """The store cannot be reached, or refuses us; whether the body is there is not known."""


class BlobStore(Protocol):
    """Bodies by opaque id. Every method may raise `BlobStoreAwayError`; none changes a body."""

    def put(self, object_id: str, body: bytes) -> None:
        """Store `body`; on return it is durable.

        Raises:
            BlobExistsError: the id is taken.
            StorageFullError: there is no room; nothing is left of it.

        """

    def get(self, object_id: str) -> bytes:
        """Return the whole body.

        Raises:
            MissingBlobError: it is not there.

        """

    def delete(self, object_id: str) -> None:
        """Remove the body; one that is not there is no fault."""

    def ids(self, *, older_than: float) -> Iterator[str]:
        """Ids of bodies that were written before `older_than` (seconds since 1970), in order."""

    def sweep_unfinished(self, *, older_than: float) -> int:
        """Remove what a crash left half written before then; return how many went."""


def checked_id(object_id: str) -> str:
    """Return the id, or raise ValueError: nothing else may name a file or an object."""
    if not is_id(object_id):
        raise ValueError("An object id is 32 hex digits.")
    return object_id


def is_id(name: str) -> bool:
    return _NAME.match(name) is not None
