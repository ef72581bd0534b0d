"""Anchors of the audit chain: its head, signed, in a file outside of the database.

The chain alone cannot show that its tail and its head were set back together, and whoever has the
audit key could write it anew. An anchor shows both: one line of JSON with the last entry's place
and MAC, the time and the installation's signature. Keep the file on another volume, or where lines
can only be added.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clinic.durable_files import fsync_folder
from clinic.installation_key import InstallationKey, InstallationPublicKey, WrongSignatureError

USE = "audit anchor"
LONGEST_END = 4096  # bytes that hold the last whole line


class AnchorError(Exception):
    """The file cannot be read or written, or a line is not ours; the message says which."""


@dataclass(frozen=True)
class Anchor:
    """At `at` the chain ended with the entry `sequence`, whose MAC (hex) was `mac`."""

    sequence: int
    mac: str
    at: datetime


@dataclass(frozen=True)
class AnchorFile:
    path: Path

    def add(self, anchor: Anchor, key: InstallationKey) -> None:
        """Append an anchor; it is on the disk when the call returns.

        Raises:
            AnchorError: the file cannot be written.

        """
        line = _line(anchor, key.sign(USE, _message(anchor)))
        try:
            is_new = not self.path.exists()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                fsync_folder(self.path.parent)
        except OSError as error:
            raise AnchorError(
                f"The audit anchors {self.path} cannot be written: {error.strerror}."
            ) from error

    def read(self, key: InstallationPublicKey) -> list[Anchor]:
        """Every anchor, oldest first; none where there is no file yet.

        A last line without its end was cut off by a crash before anybody relied on it.

        Raises:
            AnchorError: the file cannot be read, or a line was changed.

        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AnchorError(
                f"The audit anchors {self.path} cannot be read: {error.strerror}."
            ) from error
        return list(self._parse(content, key))

    def last(self, key: InstallationPublicKey) -> Anchor | None:
        """The newest anchor, without reading those before it.

        Raises:
            AnchorError: as `read`.

        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LONGEST_END))
                end = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AnchorError(
                f"The audit anchors {self.path} cannot be read: {error.strerror}."
            ) from error
        lines = end[: end.rfind(b"\n") + 1].splitlines(keepends=True)
        return next(self._parse(lines[-1], key)) if lines else None

    def _parse(self, content: bytes, key: InstallationPublicKey) -> Iterator[Anchor]:
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                fields = json.loads(line)
                at = datetime.fromisoformat(fields["at"])
                anchor = Anchor(int(fields["sequence"]), str(fields["mac"]), at)
                key.check(USE, _message(anchor), fields["signature"])
            except (ValueError, KeyError, TypeError, WrongSignatureError) as error:
                raise AnchorError(
                    f"Line {number} of what was read of the audit anchors {self.path} was changed, "
                    "or is of another installation."
                ) from error
            yield anchor


def _message(anchor: Anchor) -> bytes:
    return f"{anchor.sequence}|{anchor.mac}|{anchor.at.isoformat()}".encode()


def _line(anchor: Anchor, signature: str) -> bytes:
    fields = {
        "sequence": anchor.sequence,
        "mac": anchor.mac,
        "at": anchor.at.isoformat(),
        "signature": signature,
    }
    return json.dumps(fields).encode() + b"\n"
