"""Draws views of lesions to learn from, in a way that gives no class away by its sharpness.

By image the share of sharp pictures differs between the classes of HAM10000, by lesion it hardly
does (Tschandl et al. 2018 name up to six images of one lesion). So the unit of training is the
lesion, and how often one shows its sharp image is set so that the share of sharp views is the same
in every class.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Floats, Labels
from ml.dataset import Images
from ml.folds import LabelDataError, Record
from ml.labels import CLASSES

SHARP_CHANCE: Final = 0.6
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Lesion:
    """One lesion: the rows of its images, and those among them that have a sharp version."""

    lesion_id: str
    label: int
    rows: tuple[int, ...]
    sharp: tuple[int, ...]


@dataclass(frozen=True)
class Draws:
    """Views to learn from: the image's row, whether its sharp version is meant, and its class."""

    rows: Rows
    sharp: NDArray[np.bool_]
    labels: Labels

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, count: int) -> "Draws":
        chosen = slice(start, start + count)
        return Draws(self.rows[chosen], self.sharp[chosen], self.labels[chosen])


def group_lesions(records: Sequence[Record], images: Images, rows: Sequence[int]) -> list[Lesion]:
    """Lesions of the chosen rows; LabelDataError names those with two diagnoses."""
    by_lesion: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_lesion[records[row].lesion_id].append(row)
    doubtful = [
        lesion_id
        for lesion_id, members in by_lesion.items()
        if len({records[row].label for row in members}) > 1
    ]
    if doubtful:
        raise LabelDataError(f"lesions with two diagnoses: {', '.join(doubtful[:10])}")
    return [
        Lesion(
            lesion_id,
            records[members[0]].label,
            tuple(members),
            tuple(row for row in members if images.sharp_row[row] >= 0),
        )
        for lesion_id, members in by_lesion.items()
    ]


def class_weights(lesions: Sequence[Lesion], *, power: float) -> Floats:
    """Chance of each class in a batch: its lesions' share to the power 1 - `power`, normalised."""
    counts = _count(lesions)
    chances = np.where(counts > 0, np.maximum(counts, 1.0) ** (1.0 - power), 0.0)
    shares: Floats = chances / chances.sum()
    return shares


def sharp_chances(lesions: Sequence[Lesion]) -> Floats:
    """Chance [classes] that a lesion with a sharp image shows it.

    Chance times the class's share of such lesions is the same for all classes.
    """
    counts = _count(lesions)
    shares = _count([lesion for lesion in lesions if lesion.sharp]) / np.maximum(counts, 1.0)
    wanted = SHARP_CHANCE * shares[counts > 0].min()
    chances: Floats = np.divide(wanted, shares, out=np.zeros_like(shares), where=shares > 0)
    return chances


def _count(lesions: Sequence[Lesion]) -> Floats:
    labels = np.array([lesion.label for lesion in lesions], dtype=np.int64)
    return np.bincount(labels, minlength=len(CLASSES)).astype(np.float64)


def class_by_source(lesions: Sequence[Lesion], *, first_added: int) -> str:
    """Lesions with a sharp image by class, and how many were added (rows from `first_added`)."""
    sharp = _count([lesion for lesion in lesions if lesion.sharp])
    added = _count([lesion for lesion in lesions if max(lesion.rows) >= first_added])
    shares = [
        f"{name} {with_sharp:.0f}/{count:.0f} = {with_sharp / max(1.0, count):.2f}"
        + (f" ({more:.0f} added)" if more else "")
        for name, count, with_sharp, more in zip(
            CLASSES, _count(lesions), sharp, added, strict=True
        )
    ]
    return "lesions with a sharp image: " + ", ".join(shares)


@dataclass(frozen=True)
class _Choices:
    """Some rows for each lesion, end to end: those of lesion i begin at first[i]."""

    rows: Rows
    first: Rows
    count: Rows

    @classmethod
    def of(cls, of_lesions: Sequence[tuple[int, ...]]) -> Self:
        count = np.array([len(rows) for rows in of_lesions], dtype=np.int64)
        rows = np.array([row for rows in of_lesions for row in rows], dtype=np.int64)
        return cls(rows, np.cumsum(count) - count, count)

    def pick(self, lesions: Rows, generator: np.random.Generator) -> Rows:
        """One row of each of these lesions, each row as likely as the others of its lesion."""
        picked: Rows = self.rows[self.first[lesions] + generator.integers(self.count[lesions])]
        return picked


class LesionSampler:
    """Draws a class by n^(1-power), then a lesion of it, then one view of that lesion.

    The view is a sharp one with the chance that makes sharpness alike in all classes, else a soft
    one of any of the lesion's images.
    """

    def __init__(
        self, lesions: Sequence[Lesion], *, power: float, generator: np.random.Generator
    ) -> None:
        labels = np.array([lesion.label for lesion in lesions])
        self._generator = generator
        self._class_chances = class_weights(lesions, power=power)
        self._of_class = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
        self._decks = [np.empty(0, dtype=np.int64) for _ in CLASSES]
        has_sharp = np.array([bool(lesion.sharp) for lesion in lesions])
        self._sharp_chances = np.where(has_sharp, sharp_chances(lesions)[labels], 0.0)
        self._soft = _Choices.of([lesion.rows for lesion in lesions])
        self._sharp = _Choices.of([lesion.sharp for lesion in lesions])

    def _next_lesions(self, label: int, count: int) -> Rows:
        """Each lesion of a class comes once before any comes again."""
        deck = self._decks[label]
        while len(deck) < count:
            deck = np.concatenate([deck, self._generator.permutation(self._of_class[label])])
        self._decks[label] = deck[count:]
        return deck[:count]

    def draw(self, count: int) -> Draws:
        labels = self._generator.choice(len(CLASSES), size=count, p=self._class_chances)
        lesions = np.empty(count, dtype=np.int64)
        for label in range(len(CLASSES)):
            of_label = labels == label
            lesions[of_label] = self._next_lesions(label, int(of_label.sum()))
        sharp = self._generator.random(count) < self._sharp_chances[lesions]
        rows = self._soft.pick(lesions, self._generator)
        rows[sharp] = self._sharp.pick(lesions[sharp], self._generator)
        return Draws(rows, sharp, labels)
