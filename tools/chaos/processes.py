"""The processes of one program, by their ids (Linux: /proc)."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.supervisor import Program


def parent(program: Program) -> int:
    """The process id of a program that was started; it is also the id of its group."""
    if program.process is None:
        raise LookupError(f"The {program.name} was never started.")
    return program.process.pid


def pool_children(program: Program) -> list[int]:
    """The children of a worker that run tasks."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # the process ended while we looked
        if int(status[1]) == parent(program) and b"spawn_main" in command:
            found.append(int(folder.name))
    return found


def signal_group(program: Program, number: signal.Signals) -> None:
    """Send a signal to a program and all of its children; one that has ended gets none."""
    with suppress(ProcessLookupError):
        os.killpg(parent(program), number)


def kill_group(program: Program) -> None:
    """End a program as a crash of the machine would, and wait until it is gone."""
    signal_group(program, signal.SIGKILL)
    if program.process is not None:
        program.process.wait()


def end(program: Program, *, seconds: float) -> bool:
    """Ask a program to end (SIGTERM to its parent process alone) and wait; False if it did not."""
    if program.process is None:
        return True
    program.process.terminate()
    try:
        program.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@contextmanager
def frozen(program: Program) -> Iterator[None]:
    """Stop a program and all of its children where they are while the block runs."""
    signal_group(program, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_group(program, signal.SIGCONT)


@contextmanager
def file_size_limit(program: Program, most: int) -> Iterator[None]:
    """Let no file that a program writes grow beyond `most` bytes while the block runs."""
    before = {
        one: resource.prlimit(one, resource.RLIMIT_FSIZE)
        for one in _with_descendants(parent(program))
    }
    for one, (_, hard) in before.items():
        resource.prlimit(one, resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        for one, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(one, resource.RLIMIT_FSIZE, limits)


def resident_bytes(program: Program) -> int:
    """The memory of a program and of every process below it at this moment."""
    return sum(_resident(one) for one in _with_descendants(parent(program)))


def _with_descendants(process_id: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            children.setdefault(int(status[1]), []).append(int(folder.name))
    found = [process_id]
    for one in found:
        found += children.get(one, [])
    return found


def _resident(process_id: int) -> int:
    with suppress(OSError):
        pages = Path(f"/proc/{process_id}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0  # it has ended
