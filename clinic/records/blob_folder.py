"""Sealed bodies in a folder of files, shared by the programs of one machine."""

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clinic.records.blobs import (
    BlobExistsError,
    MissingBlobError,
    StorageFullError,
    checked_id,
    is_id,
)

_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{8}\Z")


@dataclass(frozen=True)
class FolderBlobStore:
    """Under two levels of folders, so that none grows too large."""

    folder: Path

    def put(self, object_id: str, body: bytes) -> None:
        """Store `body` durably: temporary file, fsync, rename, fsync of the folder."""
        target = self._path(object_id)
        if target.exists():
            raise BlobExistsError(f"Object {object_id} has a body already.")
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _full(error) from error
        try:
            with temporary.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
            _fsync_folder(target.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _full(error) from error

    def get(self, object_id: str) -> bytes:
        try:
            return self._path(object_id).read_bytes()
        except FileNotFoundError as error:
            raise MissingBlobError(f"The body of object {object_id} is missing.") from error

    def delete(self, object_id: str) -> None:
        self._path(object_id).unlink(missing_ok=True)

    def ids(self, *, older_than: float) -> Iterator[str]:
        for path in sorted(self.folder.glob("??/??/*")):
            if is_id(path.name) and path.stat().st_mtime < older_than:
                yield path.name

    def sweep_unfinished(self, *, older_than: float) -> int:
        found = [
            path
            for path in self.folder.glob("??/??/.*")
            if _UNFINISHED.match(path.name) and path.stat().st_mtime < older_than
        ]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def _path(self, object_id: str) -> Path:
        name = checked_id(object_id)
        return self.folder / name[:2] / name[2:4] / name


def _full(error: OSError) -> StorageFullError:
    return StorageFullError(f"The photo store cannot take more: {error.strerror}")


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
