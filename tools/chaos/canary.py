"""Markers in what patients send, and the search for them in everything that is kept."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.photo import clean_photo
from clinic.photo_limits import PhotoLimits
from clinic.records.models import Base
from tools.lesion_drawing import draw_lesion

NOTES = "CANARY-NOTES-51c0ffee"
FAMILY_NAME = "Canaryfamily"
PASSWORD = "canary password of five words"  # noqa: S105 - of people who live for one run
PHOTO_COMMENT = b"CANARY-PHOTO-51c0ffee"
PHOTO_SIZE = (640, 480)
EXCERPT_BYTES = 48

TEXT_MARKERS = {
    "notes": NOTES.encode(),
    "family name": FAMILY_NAME.encode(),
    "password": PASSWORD.encode(),
    "photo's comment": PHOTO_COMMENT,
}


@dataclass(frozen=True)
class MarkedPhoto:
    """A drawn photo; its markers are bytes of its compressed pixels, as sent and as cleaned."""

    data: bytes
    markers: Mapping[str, bytes]


def marked_photo(seed: int) -> MarkedPhoto:
    out = io.BytesIO()
    draw_lesion(seed, PHOTO_SIZE).save(out, "JPEG", quality=90, comment=PHOTO_COMMENT)
    data = out.getvalue()
    cleaned = clean_photo(data, limits=PhotoLimits()).data
    return MarkedPhoto(
        data,
        {f"pixels of photo {seed}": _excerpt(data), f"rendition {seed}": _excerpt(cleaned)},
    )


def _excerpt(picture: bytes) -> bytes:
    """Bytes from the middle of the file: compressed pixels, which stand nowhere by chance."""
    Image.open(io.BytesIO(picture)).verify()
    middle = len(picture) // 2
    return picture[middle : middle + EXCERPT_BYTES]


def leaks(places: Iterator[tuple[str, bytes]], markers: Mapping[str, bytes]) -> list[str]:
    """A sentence for each marker that stands in a place."""
    return [
        f"The canary in the {name} stands in clear in {place}."
        for place, data in places
        for name, marker in markers.items()
        if marker in data
    ]


def stored_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder; one that goes away meanwhile is skipped."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                yield str(path.relative_to(folder)), path.read_bytes()
        except FileNotFoundError:
            continue


def stored_rows(session: Session) -> Iterator[tuple[str, bytes]]:
    """Every table as bytes: a database may compress its files."""
    for table in Base.metadata.sorted_tables:
        values = (value for row in session.execute(select(table)) for value in row)
        yield (
            f"table {table.name}",
            b"|".join(one if isinstance(one, bytes) else str(one).encode() for one in values),
        )
