"""A sign of progress that the worker's child leaves for its parent: a small file in memory.

The parent cannot ask a child that is frozen or blocked. The file's time says when the child last
moved, and its words whose sign it is and whether that process was in the middle of a task.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Sign:
    """What the child left last. `moved_at` only tells whether it changed."""

    pid: int
    busy: bool
    moved_at: int


@dataclass(frozen=True)
class ProgressFile:
    path: Path

    @classmethod
    def of_parent(cls, pid: int) -> Self:
        """The file of the worker whose parent process is `pid`."""
        return cls(Path(tempfile.gettempdir()) / f"dermqueue-worker-{os.getuid()}-{pid}")

    def write(self, *, busy: bool) -> None:
        """The child is ready for work, or begins or ends a task."""
        draft = self.path.with_suffix(".new")
        draft.write_text(f"{os.getpid()} {int(busy)}", encoding="ascii")
        draft.replace(self.path)

    def note(self) -> None:
        """The task goes on."""
        self.write(busy=True)

    def read(self) -> Sign | None:
        """The last sign of a child that lives; None while no child is ready."""
        try:
            pid, busy = self.path.read_text(encoding="ascii").split()
            moved_at = self.path.stat().st_mtime_ns
            os.kill(int(pid), 0)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return Sign(int(pid), busy == "1", moved_at)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
