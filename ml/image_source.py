"""Finds the dermoscopic images of a data set, in folders and in zip files, by image id."""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from ml.arrays import Pixels

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})


class ImageDataError(Exception):
    """Images are missing or unreadable; the message names them."""


@cache
def _opened(path: Path) -> zipfile.ZipFile:
    """Kept open: reading the directory of a large archive costs more than a thousand images."""
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class ImageFile:
    """A file on disk, or a member of the zip file `archive`."""

    path: str
    archive: Path | None = None

    @property
    def image_id(self) -> str:
        return Path(self.path).stem

    def read(self) -> bytes:
        if self.archive is None:
            return Path(self.path).read_bytes()
        return _opened(self.archive).read(self.path)


def _in_archive(path: Path) -> Iterator[ImageFile]:
    for name in sorted(_opened(path).namelist()):
        if Path(name).suffix.lower() in _SUFFIXES:
            yield ImageFile(path=name, archive=path)


def _in_folder(folder: Path) -> Iterator[ImageFile]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES:
            yield ImageFile(path=str(path))
        elif path.suffix.lower() == ".zip":
            yield from _in_archive(path)


def find_images(root: Path) -> dict[str, list[ImageFile]]:
    """All files of each image id under a folder (its zip files included) or in one zip file."""
    if not root.exists():
        raise ImageDataError(f"{root} does not exist: name a folder or a zip file with the images")
    files: Iterable[ImageFile] = _in_folder(root) if root.is_dir() else _in_archive(root)
    found: dict[str, list[ImageFile]] = {}
    for file in files:
        found.setdefault(file.image_id, []).append(file)
    return found


def decode(data: bytes) -> Pixels:
    """uint8 [h, w, 3]; ImageDataError when the bytes are no complete picture."""
    try:
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageDataError(str(error)) from error
