"""Decode a stranger's photo in a child process that can take nothing with it when it dies.

The child is fresh for each photo, has no environment and no torch, and is bounded in memory,
processor time and time on the wall. The photo travels by sockets: it never touches a disk.
"""

import hashlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from clinic.photo import PhotoRejected, Rendition
from clinic.photo_limits import PhotoLimits
from clinic.photo_reject import RejectReason
from worker.decode_child import CHUNK, OUT_OF_MEMORY

ROOT: Final = Path(__file__).resolve().parents[1]
LENGTH_FIELD_SIZE: Final = 4
STATUS_SIZE: Final = 16


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


class DecoderPool:
    """Up to `size` decoders at work at a time; each is started when it is first needed."""

    def __init__(self, size: int, *, limits: DecodeLimits) -> None:
        self._limits = limits
        # The last one used comes first, so that what is not needed is never started.
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(_Decoder(limits))

    def decode(self, data: bytes) -> Rendition:
        """Clean one photo; raises PhotoRejected for bad input, DecoderDied when no answer comes."""
        decoder = self._idle.get()
        try:
            status, answer = decoder.run(data)
        finally:
            self._idle.put(decoder)
        if status != 0:
            raise DecoderDied(_death(status), detail=f"exit {status}")
        return _rendition(answer)

    def close(self) -> None:
        """End all decoders; the pool must be idle."""
        while not self._idle.empty():
            self._idle.get().stop()


class _Decoder:
    """One decode server, and at most one child of it."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def run(self, data: bytes) -> tuple[int, bytes]:
        """Give `data` to a fresh child; return its exit status and what it wrote."""
        give_up_at = time.monotonic() + self._limits.wall_seconds
        control = self._started()
        ours, theirs = socket.socketpair()
        try:
            with ours:
                with theirs:
                    socket.send_fds(control, [b"\0"], [theirs.fileno()])
                answer = _exchange(ours, data, until=give_up_at)
            control.settimeout(_left(give_up_at))
            status = control.recv(STATUS_SIZE)
        except TimeoutError:
            self.stop()
            raise DecoderDied(DeathReason.TOO_SLOW) from None
        except OSError:
            status = b""
        if not status:  # the server itself has ended
            self.stop()
            raise DecoderDied(DeathReason.CRASHED)
        return int(status), answer

    def _started(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.stop()
            self._control = self._start()
        return self._control

    def _start(self) -> socket.socket:
        settings = json.dumps(asdict(self._limits))
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the command is fixed
                [sys.executable, "-P", "-B", "-m", "worker.decode_server", settings],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a traceback may quote the photo
                env={"PYTHONPATH": str(ROOT)},
                start_new_session=True,  # so that it ends with its child, and not by a Ctrl-C
            )
        return ours

    def stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._control = self._process = None


def _exchange(connection: socket.socket, data: bytes, *, until: float) -> bytes:
    """Send all, then read all; raises TimeoutError at the monotonic time `until`."""
    connection.settimeout(_left(until))
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        return b""  # the child has ended; its exit status says more
    chunks = []
    while chunk := _received(connection, until):
        chunks.append(chunk)
    return b"".join(chunks)


def _received(connection: socket.socket, until: float) -> bytes:
    connection.settimeout(_left(until))
    try:
        return connection.recv(CHUNK)
    except ConnectionResetError:
        return b""


def _left(until: float) -> float:
    return max(0.001, until - time.monotonic())


def _death(status: int) -> DeathReason:
    if status == OUT_OF_MEMORY:
        return DeathReason.OUT_OF_MEMORY
    if status == -signal.SIGXCPU:
        return DeathReason.OUT_OF_PROCESSOR_TIME
    return DeathReason.CRASHED


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
