"""HAM10000 in memory, decoded once, in a form that gives no class away by its sharpness.

The data set may hold an image twice: as a small whole frame and, for one image of most lesions, as
a sharp crop of the middle. By image the sharp share differs between classes, by lesion it does not
(Tschandl et al. 2018 name up to six images of one lesion). So the unit of training is the lesion,
and a lesion that has a sharp image shows it with one fixed chance, the same for each class.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ml.arrays import Pixels
from ml.folds import Half, LeakError, Place, Record
from ml.geometry import middle_square, square_of
from ml.image_source import ImageDataError, ImageFile, decode, find_images
from ml.labels import CLASSES

SOFT_SIDE: Final = 150
SHARP_SIDE: Final = 224
SHARP_CHANCE: Final = 0.6
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
class Lesion:
    """One lesion: the rows of its images, and the one row among them that is sharp (or -1)."""

    lesion_id: str
    label: int
    rows: tuple[int, ...]
    sharp: int


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
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda record: _decode_versions(found[record.image_id]), records))
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


def group_lesions(records: Sequence[Record], images: Images, rows: Sequence[int]) -> list[Lesion]:
    by_lesion: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_lesion[records[row].lesion_id].append(row)
    lesions = []
    for lesion_id, members in by_lesion.items():
        sharp = next((row for row in members if images.sharp_row[row] >= 0), -1)
        lesions.append(Lesion(lesion_id, records[members[0]].label, tuple(members), sharp))
    return lesions


def class_weights(
    lesions: Sequence[Lesion], *, power: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Chance of each class in a batch: its lesions' share to the power 1 - `power`, normalised."""
    counts = np.bincount([lesion.label for lesion in lesions], minlength=len(CLASSES))
    chances = np.where(counts > 0, np.maximum(counts, 1) ** (1.0 - power), 0.0)
    shares: np.ndarray[tuple[int], np.dtype[np.float64]] = chances / chances.sum()
    return shares


class LesionSampler:
    """Draws a class by n^(1-power), then a lesion of it, then one view of that lesion.

    A lesion with a sharp image shows it with SHARP_CHANCE, else any of its images softly. The share
    of sharp views is therefore the share of lesions that have one, which is alike in all classes.
    """

    def __init__(
        self, lesions: Sequence[Lesion], *, power: float, generator: np.random.Generator
    ) -> None:
        self._chances = class_weights(lesions, power=power)
        self._of_class = [
            [lesion for lesion in lesions if lesion.label == label] for label in range(len(CLASSES))
        ]
        self._decks: list[list[Lesion]] = [[] for _ in CLASSES]
        self._generator = generator

    def _next_lesion(self, label: int) -> Lesion:
        """Each lesion of a class comes once before any comes again."""
        deck = self._decks[label]
        if not deck:
            order = self._generator.permutation(len(self._of_class[label]))
            deck.extend(self._of_class[label][index] for index in order)
        return deck.pop()

    def draw(self) -> tuple[int, bool, int]:
        """Row of the image, whether its sharp version is meant, and the class."""
        label = int(self._generator.choice(len(CLASSES), p=self._chances))
        lesion = self._next_lesion(label)
        if lesion.sharp >= 0 and self._generator.random() < SHARP_CHANCE:
            return lesion.sharp, True, label
        return int(self._generator.choice(lesion.rows)), False, label

    def batch(self, size: int) -> list[tuple[int, bool, int]]:
        return [self.draw() for _ in range(size)]
