"""Five folds fixed by a seed and kept in folds.csv: no lesion stands on two sides.

`python -m ml.folds` writes the file anew from the metadata. Each fold is also cut, by lesion, into
two halves: of a held-out fold one half serves to choose (stopping, temperature, thresholds), the
other is opened once for the figures.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ml.labels import CLASS_INDEX

Half = Literal["calibrate", "report"]
FOLDS_FILE: Final = Path(__file__).with_name("folds.csv")
METADATA_NAME: Final = "HAM10000_metadata.csv"
DEFAULT_METADATA: Final = Path("../shared/data/ham10000") / METADATA_NAME
FOLDS: Final = 5
SEED: Final = 20181


class LabelDataError(Exception):
    """A table of labels or folds cannot be used; the message says why."""


class LeakError(Exception):
    """One lesion stands on two sides of a split; the message names lesions."""


@dataclass(frozen=True)
class Record:
    """One image of the metadata table; `label` is an index into CLASSES."""

    image_id: str
    lesion_id: str
    label: int


@dataclass(frozen=True)
class Place:
    """Where an image stands."""

    lesion_id: str
    fold: int
    half: Half


def _read_table(path: Path, columns: set[str]) -> list[dict[str, str]]:
    """Rows of a table with these columns; LabelDataError when there is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelDataError(f"{path} cannot be read as a table: {error}") from error
    if not rows or not columns <= set(rows[0]):
        raise LabelDataError(f"{path} needs rows with the columns {', '.join(sorted(columns))}")
    return rows


def read_metadata(path: Path) -> list[Record]:
    """Rows of HAM10000_metadata.csv; an unknown diagnosis is an error that names the image."""
    rows = _read_table(path, {"image_id", "lesion_id", "dx"})
    unknown = [f"{row['image_id']} ({row['dx']})" for row in rows if row["dx"] not in CLASS_INDEX]
    if unknown:
        raise LabelDataError(f"{path}: unknown diagnosis of {', '.join(unknown[:10])}")
    return [Record(row["image_id"], row["lesion_id"], CLASS_INDEX[row["dx"]]) for row in rows]


def _split(records: Sequence[Record], *, parts: int) -> list[int]:
    """Cut records into parts, stratified by diagnosis and grouped by lesion; give each its part."""
    labels = np.array([record.label for record in records])
    lesions = np.array([record.lesion_id for record in records])
    part = np.zeros(len(records), dtype=int)
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=SEED)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, lesions)):
        part[held_out] = number
    return [int(number) for number in part]


def make_folds(records: Sequence[Record]) -> dict[str, Place]:
    folds = _split(records, parts=FOLDS)
    places: dict[str, Place] = {}
    for fold in range(FOLDS):
        members = [record for record, number in zip(records, folds, strict=True) if number == fold]
        for record, second in zip(members, _split(members, parts=2), strict=True):
            half: Half = "report" if second else "calibrate"
            places[record.image_id] = Place(record.lesion_id, fold, half)
    return places


def check_no_leak(places: dict[str, Place]) -> None:
    """LeakError when a lesion has images in two folds or in both halves of one."""
    sides: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for place in places.values():
        sides[place.lesion_id].add((place.fold, place.half))
    leaking = sorted(lesion for lesion, where in sides.items() if len(where) > 1)
    if leaking:
        raise LeakError(f"lesions on two sides of the split: {', '.join(leaking[:10])}")


def read_folds(path: Path = FOLDS_FILE) -> dict[str, Place]:
    """Image id -> place, checked for leaks."""
    places: dict[str, Place] = {}
    for row in _read_table(path, {"image_id", "lesion_id", "fold", "half"}):
        half: Half = "report" if row["half"] == "report" else "calibrate"
        places[row["image_id"]] = Place(row["lesion_id"], int(row["fold"]), half)
    check_no_leak(places)
    return places


def write_folds(places: dict[str, Place], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image_id", "lesion_id", "fold", "half"))
        for image_id in sorted(places):
            place = places[image_id]
            writer.writerow((image_id, place.lesion_id, place.fold, place.half))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--out", type=Path, default=FOLDS_FILE)
    options = parser.parse_args()
    places = make_folds(read_metadata(options.metadata))
    check_no_leak(places)
    write_folds(places, options.out)


if __name__ == "__main__":
    main()
