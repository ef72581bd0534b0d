"""Tables of labelled photos: the one-hot table of the ISIC challenge, or image_id and dx."""

import csv
from dataclasses import dataclass
from pathlib import Path

from ml.folds import LabelDataError
from ml.labels import CLASS_INDEX, CLASSES


@dataclass(frozen=True)
class Case:
    """One labelled photo; photos of one `group` (lesion) are not independent."""

    image_id: str
    group: str
    label: int


def _label_of(row: dict[str, str], name: str) -> str:
    """Diagnosis of one row; LabelDataError names a photo without exactly one known diagnosis."""
    if "dx" in row:
        label = row["dx"].strip().lower()
        if label not in CLASS_INDEX:
            raise LabelDataError(f"{name}: the diagnosis {row['dx']!r} is not one of {CLASSES}")
        return label
    marked = [name for name in CLASSES if float(row[name.upper()] or 0.0) > 0.5]
    if len(marked) != 1:
        raise LabelDataError(f"{name}: its row marks {len(marked)} classes instead of one")
    return marked[0]


def read_labels(path: Path) -> list[Case]:
    """Cases of either kind of table; without a column lesion_id every photo is its own group."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise LabelDataError(f"{path} has no rows")
    columns = set(rows[0])
    one_hot = {"image", *(name.upper() for name in CLASSES)}
    if not ({"image_id", "dx"} <= columns or one_hot <= columns):
        raise LabelDataError(
            f"{path} needs the columns image_id, dx or {', '.join(sorted(one_hot))}"
        )
    cases = []
    for row in rows:
        name = row["image_id"] if "dx" in columns else row["image"]
        cases.append(Case(name, row.get("lesion_id") or name, CLASS_INDEX[_label_of(row, name)]))
    return cases
