"""Files that are on the disk when the call returns."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file that its owner alone may read.

    Raises:
        FileExistsError: there is one already.

    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make names that were added to or renamed in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
