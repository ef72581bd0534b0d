"""Cases to learn from beside HAM10000: a folder with a JSON manifest and the photos it names.

`flask training-set export` writes one, `python -m ml.train --add` reads it. The manifest holds the
hash of every photo, and nothing by which a person could be named.
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from ml.labels import CLASS_INDEX

MANIFEST_FILE: Final = "training_set.json"
PROVEN_FILE: Final = "pathology.csv"
HISTOLOGY: Final = "histo"  # as HAM10000 names it in its column dx_type
READER: Final = "reader"
FORMAT: Final = 1


class TrainingManifestError(Exception):
    """A training manifest cannot be used; the message names the case and says what to do."""


@dataclass(frozen=True, kw_only=True)
class TrainingCase:
    """One photo with its diagnosis; `file` is relative to the manifest's folder.

    `dx_type` says whose the diagnosis is: a laboratory's (HISTOLOGY) or the one as signed (READER).
    Age in years, rounded to five; sex and body site in the words of HAM10000's metadata.
    """

    image_id: str
    lesion_id: str
    dx: str
    file: str
    sha256: str
    dx_type: str = READER
    age: int | None = None
    sex: str = "unknown"
    localization: str = "unknown"


def write_training_manifest(folder: Path, cases: Sequence[TrainingCase], *, origin: str) -> Path:
    """Write the manifest beside the photos; `origin` says where the cases come from."""
    values = {"format": FORMAT, "origin": origin, "cases": [asdict(case) for case in cases]}
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path


def write_proven_labels(folder: Path, cases: Sequence[TrainingCase]) -> Path | None:
    """Write the labels of the photos that a laboratory proved, for ml.evaluate; None if none is."""
    proven = [case for case in cases if case.dx_type == HISTOLOGY]
    if not proven:
        return None
    path = folder / PROVEN_FILE
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image_id", "dx"))
        writer.writerows((case.image_id, case.dx) for case in proven)
    return path


def read_training_manifest(path: Path) -> list[TrainingCase]:
    """Cases of a manifest, each photo's hash checked.

    Raises:
        TrainingManifestError: it is no manifest, a diagnosis is unknown, or a photo is missing,
            changed or outside the folder.

    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise TrainingManifestError(f"{path}: format {values['format']} is not {FORMAT}")
        cases = [TrainingCase(**case) for case in values["cases"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingManifestError(
            f"{path} is no training manifest ({error}): name the {MANIFEST_FILE} of an export"
        ) from error
    for case in cases:
        _check(case, path.parent)
    return cases


def _check(case: TrainingCase, folder: Path) -> None:
    if case.dx not in CLASS_INDEX:
        raise TrainingManifestError(f"{case.image_id}: the diagnosis {case.dx!r} is not known")
    photo = folder / case.file
    if not photo.resolve().is_relative_to(folder.resolve()):
        raise TrainingManifestError(f"{case.image_id}: {case.file!r} lies outside the folder")
    try:
        digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    except OSError as error:
        raise TrainingManifestError(f"{case.image_id}: {photo} cannot be read: {error}") from error
    if digest != case.sha256:
        raise TrainingManifestError(f"{case.image_id}: {case.file} is not the photo exported")
