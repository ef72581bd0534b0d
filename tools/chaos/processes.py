"""The processes of one program, by their ids (Linux: /proc)."""

import os
import signal
import subprocess
from contextlib import suppress
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
