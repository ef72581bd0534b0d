"""The erasure ledger: who was erased, kept outside the database and added to, never changed.

A backup from before an erasure still holds the patient's rows. The ledger outlives it, so that a
restore erases them again. It holds no personal data: one line of JSON for each patient with the
opaque id, the time and a MAC that chains it to the line before.
"""

import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clinic.durable_files import fsync_folder, write_durably

GENESIS = "0" * 64


class LedgerError(Exception):
    """The ledger cannot be read, or is not the one that was written; the message says why."""


@dataclass(frozen=True)
class ErasureRecord:
    """One line: an opaque patient id, when the erasure was decided, and the chain's MAC (hex)."""

    patient_id: str
    at: datetime
    mac: str


@dataclass(frozen=True)
class ErasureLedger:
    """The file at `path`, chained under a key that is derived from the audit key."""

    path: Path
    audit_key: bytes = field(repr=False)

    def add(self, patient_id: str, *, at: datetime) -> None:
        """Write the patient down durably; one who is there already stays as they are.

        Raises:
            LedgerError: the file was changed, or the disk did not take the line.

        """
        try:
            with self._locked() as file:
                content = file.read()
                records = list(self._parse(content))
                if any(one.patient_id == patient_id for one in records):
                    return
                before = records[-1].mac if records else GENESIS
                record = ErasureRecord(patient_id, at, self._mac(before, patient_id, at))
                _append(file, _line(record), after=_complete(content))
        except OSError as error:
            raise LedgerError(
                f"The erasure ledger {self.path} cannot be written: {error.strerror}."
            ) from error

    def read(self) -> list[ErasureRecord]:
        """Every record, oldest first, after checking the chain; none where there is no file yet.

        Raises:
            LedgerError: it cannot be read, or a line was changed, moved or left out.

        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerError(
                f"The erasure ledger {self.path} cannot be read: {error.strerror}."
            ) from error
        return list(self._parse(content))

    def copy_to(self, target: Path) -> None:
        """Write the checked records to `target`, where no file may be yet."""
        write_durably(target, b"".join(_line(one) for one in self.read()))

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        fsync_folder(self.path.parent)

    def _parse(self, content: bytes) -> Iterator[ErasureRecord]:
        """What follows the last line's end was cut off by a crash before anybody relied on it."""
        before = GENESIS
        for number, line in enumerate(content[: _complete(content)].splitlines(), start=1):
            record = _record(line)
            if record is None or not hmac.compare_digest(
                record.mac, self._mac(before, record.patient_id, record.at)
            ):
                raise LedgerError(f"Line {number} of the erasure ledger {self.path} was changed.")
            yield record
            before = record.mac

    def _mac(self, before: str, patient_id: str, at: datetime) -> str:
        """HMAC-SHA256 (RFC 2104), hex, over the line before and this one."""
        key = HKDF(SHA256(), 32, None, b"dermqueue erasure ledger").derive(self.audit_key)
        message = f"{before}|{patient_id}|{at.isoformat()}".encode()
        return hmac.new(key, message, hashlib.sha256).hexdigest()


def extends(newer: list[ErasureRecord], older: list[ErasureRecord]) -> bool:
    """Whether `newer` begins with all that `older` holds."""
    return newer[: len(older)] == older


def _complete(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def _append(file: BinaryIO, line: bytes, *, after: int) -> None:
    file.truncate(after)
    file.seek(after)
    file.write(line)
    file.flush()
    os.fsync(file.fileno())


def _line(record: ErasureRecord) -> bytes:
    fields = {"patient": record.patient_id, "at": record.at.isoformat(), "mac": record.mac}
    return json.dumps(fields).encode() + b"\n"


def _record(line: bytes) -> ErasureRecord | None:
    try:
        fields = json.loads(line)
        return ErasureRecord(fields["patient"], datetime.fromisoformat(fields["at"]), fields["mac"])
    except (ValueError, KeyError, TypeError):
        return None
