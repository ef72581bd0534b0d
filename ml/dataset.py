"""HAM10000 in memory as squares, decoded once and kept in a cache.

The data set may hold an image twice: as a small whole frame and, for one image of most lesions, as
a sharp crop of the middle. The published images (600x450) give a square of either kind.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from ml.arrays import Pixels
from ml.folds import Half, LeakError, Place, Record
from ml.geometry import middle_square, square_of
from ml.image_source import ImageDataError, ImageFile, decode, find_images

SOFT_SIDE: Final = 150
SHARP_SIDE: Final = 224
_CACHE_VERSION: Final = 1
_NAMED: Final = 20


@dataclass(frozen=True)
class Images:
    """All images as uint8 squares: `soft` [n, 150, 150, 3], `sharp` [m, 224, 224, 3].

    `sharp_row` gives the row in `sharp` for each row of `soft`, or -1.
    """

    image_ids: tuple[str, ...]
    soft: Pixels
    sharp: Pixels
    sharp_row: tuple[int, ...]
    data_hash: str

    def best(self, index: int) -> Pixels:
        row = self.sharp_row[index]
        pixels: Pixels = self.soft[index] if row < 0 else self.sharp[row]
        return pixels


@dataclass(frozen=True)
class _Decoded:
    soft: Pixels
    sharp: Pixels | None
    digest: str
    fault: str


def _decode_versions(files: Sequence[ImageFile]) -> _Decoded:
    """Soft and sharp square of the versions of one image (whole frame, crop or published size)."""
    digest = hashlib.sha256()
    squares: list[Pixels] = []
    for file in files:
        data = file.read()
        digest.update(data)
        try:
            rgb = decode(data)
        except ImageDataError as error:
            return _Decoded(np.empty(0, np.uint8), None, "", f"{file.image_id}: {error}")
        side = middle_square(height=rgb.shape[0], width=rgb.shape[1]).side
        squares.append(square_of(rgb, size=SHARP_SIDE if side >= SHARP_SIDE else SOFT_SIDE))
    squares.sort(key=len)
    soft = square_of(squares[0], size=SOFT_SIDE)
    sharp = squares[-1] if len(squares[-1]) == SHARP_SIDE else None
    return _Decoded(soft, sharp, digest.hexdigest(), "")


def _require_all(records: Sequence[Record], found: dict[str, list[ImageFile]], root: Path) -> None:
    missing = [record.image_id for record in records if record.image_id not in found]
    if missing:
        names = ", ".join(missing[:_NAMED])
        raise ImageDataError(f"{len(missing)} images are missing under {root}: {names}")


def decode_images(records: Sequence[Record], root: Path) -> Images:
    """Decode every record's image; ImageDataError names each missing or unreadable one."""
    found = find_images(root)
    _require_all(records, found, root)
    return decode_files(records, found, root)


def decode_files(
    records: Sequence[Record], files: Mapping[str, Sequence[ImageFile]], root: Path
) -> Images:
    """Decode every record's files; ImageDataError names each unreadable image under `root`."""
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda record: _decode_versions(files[record.image_id]), records))
    faults = [item.fault for item in decoded if item.fault]
    if faults:
        names = "; ".join(faults[:_NAMED])
        raise ImageDataError(f"{len(faults)} images under {root} cannot be read: {names}")
    sharp = [item.sharp for item in decoded if item.sharp is not None]
    rows = iter(range(len(sharp)))
    return Images(
        image_ids=tuple(record.image_id for record in records),
        soft=np.stack([item.soft for item in decoded]),
        sharp=np.stack(sharp) if sharp else np.empty((0, SHARP_SIDE, SHARP_SIDE, 3), np.uint8),
        sharp_row=tuple(-1 if item.sharp is None else next(rows) for item in decoded),
        data_hash=_data_hash(records, decoded),
    )


def join_images(first: Images, second: Images) -> Images:
    """Rows of `first`, then rows of `second`; the data hash stays that of `first`."""
    shift = len(first.sharp)
    return replace(
        first,
        image_ids=first.image_ids + second.image_ids,
        soft=np.concatenate([first.soft, second.soft]),
        sharp=np.concatenate([first.sharp, second.sharp]),
        sharp_row=first.sharp_row
        + tuple(row + shift if row >= 0 else -1 for row in second.sharp_row),
    )


def _data_hash(records: Sequence[Record], decoded: Sequence[_Decoded]) -> str:
    digest = hashlib.sha256()
    for record, item in zip(records, decoded, strict=True):
        digest.update(f"{record.image_id} {record.label} {item.digest}\n".encode())
    return digest.hexdigest()


def _cache_key(records: Sequence[Record], root: Path) -> str:
    """Names, places, sizes and times of the sources: changes when the data may have changed."""
    digest = hashlib.sha256(f"{_CACHE_VERSION} {root.resolve()}".encode())
    for record in records:
        digest.update(f"{record.image_id} {record.label}\n".encode())
    sources = sorted(root.rglob("*")) if root.is_dir() else [root]
    for path in sources:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def load_images(records: Sequence[Record], root: Path, cache: Path) -> Images:
    """As decode_images, kept as arrays in a folder of `cache` for the next time."""
    folder = cache / f"images-{_cache_key(records, root)}"
    index = folder / "index.json"
    if not index.exists():
        images = decode_images(records, root)
        _store(images, folder)
        return images
    kept = json.loads(index.read_text(encoding="utf-8"))
    return Images(
        image_ids=tuple(kept["image_ids"]),
        soft=np.load(folder / "soft.npy"),
        sharp=np.load(folder / "sharp.npy"),
        sharp_row=tuple(kept["sharp_row"]),
        data_hash=kept["data_hash"],
    )


def _store(images: Images, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "soft.npy", images.soft)
    np.save(folder / "sharp.npy", images.sharp)
    kept = {
        "image_ids": images.image_ids,
        "sharp_row": images.sharp_row,
        "data_hash": images.data_hash,
    }
    # The index is written last, so that a cache cut off in the middle is never taken for whole.
    (folder / "index.json").write_text(json.dumps(kept), encoding="utf-8")


def rows_where(
    records: Sequence[Record], places: dict[str, Place], wanted: Callable[[Place], bool]
) -> list[int]:
    """Rows of the images whose place is wanted; an image without a place is an error."""
    unplaced = [record.image_id for record in records if record.image_id not in places]
    if unplaced:
        raise LeakError(f"images without a fold: {', '.join(unplaced[:_NAMED])}")
    return [row for row, record in enumerate(records) if wanted(places[record.image_id])]


def training_rows(
    records: Sequence[Record], places: dict[str, Place], *, held_out: int
) -> list[int]:
    return rows_where(records, places, lambda place: place.fold != held_out)


def held_out_rows(
    records: Sequence[Record], places: dict[str, Place], *, fold: int, half: Half
) -> list[int]:
    return rows_where(records, places, lambda place: (place.fold, place.half) == (fold, half))
