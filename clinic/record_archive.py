"""The archive that a patient takes along: its plain files, its manifest, and the ZIP around them.

Photos are sealed for the server. A browser adds them to the same files and the same manifest; made
by the server, the archive has none and says so.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ArchiveFile:
    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def json_file(name: str, value: object) -> ArchiveFile:
    return ArchiveFile(name, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def csv_file(
    name: str, rows: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> ArchiveFile:
    """A table for a spreadsheet; a value that a spreadsheet would calculate is marked as text."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(row[name]) for name in columns})
    return ArchiveFile(name, out.getvalue().encode())


def _harmless(value: object) -> object:
    """A cell that begins like a formula is run by spreadsheets (CWE-1236)."""
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def manifest(files: Iterable[ArchiveFile], *, made_at: datetime) -> dict[str, object]:
    """What is in the archive, with the SHA-256 (hex) of each file; it does not name itself."""
    named = [{"name": one.name, "size": len(one.content), "sha256": one.sha256} for one in files]
    return {"made_at": made_at.isoformat(), "files": named}


def to_zip(files: Sequence[ArchiveFile], *, made_at: datetime) -> bytes:
    """A ZIP of the files and their manifest."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in [*files, json_file(MANIFEST, manifest(files, made_at=made_at))]:
            archive.writestr(one.name, one.content)
    return out.getvalue()
