"""What runs learn from and are judged on: squares as uint8 on the device that trains."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ml.added_cases import AddedCases, read_added_cases
from ml.arrays import Labels
from ml.dataset import (
    SHARP_SIDE,
    Images,
    held_out_rows,
    join_images,
    load_images,
    training_rows,
)
from ml.folds import Place, Record, check_no_leak, read_folds, read_metadata
from ml.members import MemberConfig, PooledClassifier
from ml.preprocess import from_squares, squares_of
from ml.sampler import Draws, Lesion, Rows, group_lesions


@dataclass(frozen=True)
class Source:
    """HAM10000 with its folds, and after its rows those of added cases."""

    records: list[Record]
    places: dict[str, Place]
    images: Images
    added: list[AddedCases]
    folds: Path

    @property
    def first_added(self) -> int:
        return len(self.records) - sum(len(cases.records) for cases in self.added)

    def training_lesions(self, *, held_out: int) -> list[Lesion]:
        """Lesions of the other folds, and the added ones."""
        own = training_rows(self.records[: self.first_added], self.places, held_out=held_out)
        rows = [*own, *range(self.first_added, len(self.records))]
        return group_lesions(self.records, self.images, rows)

    def held_out_rows(self, *, fold: int) -> tuple[list[int], int]:
        """Rows of the fold, and how many of the first ones are of the half that may choose."""
        own = self.records[: self.first_added]
        choosing = held_out_rows(own, self.places, fold=fold, half="calibrate")
        return choosing + held_out_rows(own, self.places, fold=fold, half="report"), len(choosing)


def read_source(
    *, images: Path, metadata: Path, folds: Path, cache: Path, add: Sequence[Path] = ()
) -> Source:
    """Read and check all data of a command; the errors of what is read say what is wrong."""
    records = read_metadata(metadata)
    places = read_folds(folds)
    # The lesions of the table count, whatever the file of folds says they are.
    check_no_leak(
        {
            record.image_id: replace(places[record.image_id], lesion_id=record.lesion_id)
            for record in records
            if record.image_id in places
        }
    )
    added = read_added_cases(add, places)
    decoded = load_images(records, images, cache)
    for cases in added:
        decoded = join_images(decoded, cases.images)
        records = records + cases.records
    return Source(records, places, decoded, added, folds)


@dataclass(frozen=True)
class Pool:
    """All squares as uint8 tensors on one device; on a CPU they share the arrays' memory."""

    soft: Tensor
    sharp: Tensor
    sharp_row: Rows

    @classmethod
    def of(cls, images: Images, device: torch.device) -> Self:
        return cls(
            torch.from_numpy(images.soft).to(device),
            torch.from_numpy(images.sharp).to(device),
            np.array(images.sharp_row, dtype=np.int64),
        )

    @property
    def device(self) -> torch.device:
        return self.soft.device


def _send(values: NDArray[np.int64], device: torch.device) -> Tensor:
    """Copy indexes to the device; from pinned memory the copy does not wait for a GPU."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def load_batch(pool: Pool, draws: Draws) -> tuple[Tensor, Tensor]:
    """Float [n, 3, 224, 224] in 0..1, sharp pictures first, soft ones enlarged; and the labels."""
    order = np.argsort(~draws.sharp, kind="stable")
    # The host knows how many are sharp, so that no mask is looked up on the device.
    count = int(draws.sharp.sum())
    rows = draws.rows[order]
    parts = []
    if count:
        chosen = _send(pool.sharp_row[rows[:count]], pool.device)
        parts.append(pool.sharp[chosen].permute(0, 3, 1, 2).float())
    if count < len(rows):
        small = pool.soft[_send(rows[count:], pool.device)].permute(0, 3, 1, 2).float()
        parts.append(functional.interpolate(small, size=SHARP_SIDE, mode="bicubic"))
    pictures = torch.cat(parts).clamp_(0.0, 255.0).div_(255.0)
    return pictures, _send(draws.labels[order], pool.device)


@dataclass(frozen=True)
class HeldOut:
    """The held-out fold as a member is served: uint8 squares [n, size, size, 3] on the device.

    The first `choosing` images are the half that chooses the epoch.
    """

    image_ids: tuple[str, ...]
    labels: Labels
    squares: Tensor
    choosing: int

    @classmethod
    def of(cls, source: Source, config: MemberConfig, *, fold: int, device: torch.device) -> Self:
        rows, choosing = source.held_out_rows(fold=fold)
        with ThreadPoolExecutor() as pool:
            squares = list(
                pool.map(lambda row: squares_of([source.images.best(row)], config.input_size), rows)
            )
        return cls(
            tuple(source.records[row].image_id for row in rows),
            np.array([source.records[row].label for row in rows], dtype=np.int64),
            torch.from_numpy(np.concatenate(squares)).to(device),
            choosing,
        )


def predict(
    member: PooledClassifier, squares: Tensor, config: MemberConfig, *, batch: int
) -> NDArray[np.float32]:
    """Logits [n, classes] of squares, in float32 as in service."""
    member.eval()
    with torch.inference_mode():
        logits = [member(from_squares(part, config)) for part in torch.split(squares, batch)]
    values: NDArray[np.float32] = torch.cat(logits).cpu().numpy()
    return values
