"""Decode a stranger's photo in a child process that can take nothing with it when it dies.

The child is fresh for each photo, has no environment and no torch, and is bounded in memory,
processor time and time on the wall. The photo travels by pipes: it never touches a disk.
"""

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from clinic.photo import PhotoRejected, Rendition
from clinic.photo_limits import PhotoLimits
from clinic.photo_reject import RejectReason
from worker.decode_child import OUT_OF_MEMORY

ROOT: Final = Path(__file__).resolve().parents[1]
LENGTH_FIELD_SIZE: Final = 4


class DeathReason(StrEnum):
    TOO_SLOW = "too_slow"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_PROCESSOR_TIME = "out_of_processor_time"
    CRASHED = "crashed"
    GARBLED_ANSWER = "garbled_answer"


class DecoderDied(RuntimeError):
    """The child gave no answer; `reason` says why, and nothing of the photo is in the text."""

    def __init__(self, reason: DeathReason, *, detail: str = "") -> None:
        super().__init__(f"{reason.value} {detail}".strip())
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """The memory bound is on address space, so it counts the interpreter and its libraries."""

    memory_bytes: int = 768 * 1024 * 1024
    cpu_seconds: int = 20
    wall_seconds: float = 30.0
    photo: PhotoLimits = field(default_factory=PhotoLimits)


def decode_photo(data: bytes, *, limits: DecodeLimits) -> Rendition:
    """Clean one photo; raises PhotoRejected for bad input, DecoderDied when no answer comes."""
    command = [sys.executable, "-P", "-B", "-m", "worker.decode_child", json.dumps(asdict(limits))]
    try:
        child = subprocess.run(  # noqa: S603 - the command is fixed, the photo goes by stdin
            command,
            input=data,
            capture_output=True,
            timeout=limits.wall_seconds,
            env={"PYTHONPATH": str(ROOT)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DecoderDied(DeathReason.TOO_SLOW) from None
    if child.returncode != 0:
        raise DecoderDied(_death(child.returncode), detail=_fault(child))
    return _rendition(child.stdout)


def _death(returncode: int) -> DeathReason:
    if returncode == OUT_OF_MEMORY:
        return DeathReason.OUT_OF_MEMORY
    if returncode == -signal.SIGXCPU:
        return DeathReason.OUT_OF_PROCESSOR_TIME
    return DeathReason.CRASHED


def _fault(child: subprocess.CompletedProcess[bytes]) -> str:
    """Name the exit status and the exception's type; its message may quote the file."""
    last_line = child.stderr.decode("ascii", "replace").rstrip().rpartition("\n")[2]
    return f"exit {child.returncode} {last_line.partition(':')[0][:80]}"


def _rendition(answer: bytes) -> Rendition:
    end = LENGTH_FIELD_SIZE + int.from_bytes(answer[:LENGTH_FIELD_SIZE], "big")
    data = answer[end:]
    try:
        fields = json.loads(answer[LENGTH_FIELD_SIZE:end])
        reason = RejectReason(fields["rejected"]) if "rejected" in fields else None
        width, height = (0, 0) if reason else (int(fields["width"]), int(fields["height"]))
    except (ValueError, KeyError, TypeError):
        raise DecoderDied(DeathReason.GARBLED_ANSWER) from None
    if reason:
        raise PhotoRejected(reason)
    digest = hashlib.sha256(data).hexdigest()
    return Rendition(data=data, width=width, height=height, sha256=digest)
