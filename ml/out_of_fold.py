"""Held-out photos for calibration and for figures, and the answers of members of other folds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from ml.arrays import Floats, Labels, Pixels
from ml.dataset import Images, held_out_rows
from ml.folds import FOLDS, Half, Place, Record
from ml.held_out import HELD_OUT_FILE, read_held_out
from ml.label_table import Case
from ml.labels import CLASSES
from ml.train import HELD_OUT_FOLD


@dataclass(frozen=True)
class Held:
    """Some labelled photos in their best version."""

    cases: list[Case]
    photos: list[Pixels]

    @classmethod
    def of(cls, records: Sequence[Record], images: Images, rows: Iterable[int]) -> Self:
        chosen = [(records[row], images.best(row)) for row in rows]
        return cls(
            [Case(record.image_id, record.lesion_id, record.label) for record, _ in chosen],
            [photo for _, photo in chosen],
        )

    @property
    def labels(self) -> Labels:
        return np.array([case.label for case in self.cases], dtype=np.int64)


@dataclass(frozen=True)
class OutOfFold:
    """Photos with the answers [members, n, classes] of members that did not learn them."""

    held: Held
    answers: Floats

    @classmethod
    def none(cls, members: int) -> Self:
        return cls(Held([], []), np.empty((members, 0, len(CLASSES))))


def run_folder(runs: Path, name: str, fold: int = HELD_OUT_FOLD) -> Path:
    """Where the run of a member for a fold lies: a folder of its own, if there are several."""
    of_fold = runs / name / f"fold{fold}"
    return of_fold if of_fold.is_dir() else runs / name


def read_out_of_fold(
    runs: Path,
    members: Sequence[str],
    *,
    records: Sequence[Record],
    images: Images,
    places: Mapping[str, Place],
    half: Half,
) -> OutOfFold:
    """One half of each fold but the bundle's own, as far as all members were trained for it."""
    parts = [OutOfFold.none(len(members)).answers]
    rows: list[int] = []
    for fold in range(FOLDS):
        files = [runs / name / f"fold{fold}" / HELD_OUT_FILE for name in members]
        if fold != HELD_OUT_FOLD and all(file.exists() for file in files):
            chosen = held_out_rows(records, dict(places), fold=fold, half=half)
            wanted = [records[row].image_id for row in chosen]
            parts.append(np.stack([_answers_of(file, wanted) for file in files]))
            rows.extend(chosen)
    return OutOfFold(Held.of(records, images, rows), np.concatenate(parts, axis=1))


def _answers_of(file: Path, image_ids: Sequence[str]) -> Floats:
    """Probabilities [n, classes] of these images."""
    logits = read_held_out(file)
    place = {image_id: index for index, image_id in enumerate(logits.image_ids)}
    chosen = torch.from_numpy(logits.logits[[place[image_id] for image_id in image_ids]])
    probabilities: Floats = chosen.double().softmax(dim=1).numpy()
    return probabilities
