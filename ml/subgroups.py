"""Groups of people and places in HAM10000's metadata, for figures by group: no torch here."""

import csv
from pathlib import Path
from typing import Final

from ml.folds import LabelDataError

UNKNOWN: Final = "unknown"
COLUMNS: Final = frozenset({"image_id", "age", "sex", "localization"})
_BANDS: Final = ((30.0, "0-29"), (50.0, "30-49"), (70.0, "50-69"))


def age_band(text: str) -> str:
    """Age in years as the table has it ("45.0", or empty) to one of four bands."""
    if not text:
        return UNKNOWN
    age = float(text)
    return next((band for end, band in _BANDS if age < end), "70+")


def read_subgroups(metadata: Path) -> dict[str, dict[str, str]]:
    """Image id -> its "sex", "age band" and "body site", each "unknown" where not recorded.

    Raises:
        LabelDataError: a column is missing, or an age is no number.

    """
    with metadata.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = COLUMNS - set(reader.fieldnames or ())
        if missing:
            raise LabelDataError(f"{metadata} has no column {', '.join(sorted(missing))}")
        try:
            return {row["image_id"]: _groups(row) for row in reader}
        except ValueError as error:
            raise LabelDataError(f"{metadata}: an age is not a number: {error}") from error


def _groups(row: dict[str, str]) -> dict[str, str]:
    return {
        "sex": row["sex"] or UNKNOWN,
        "age band": age_band(row["age"]),
        "body site": row["localization"] or UNKNOWN,
    }
