"""Starts, watches and stops the processes of an installation on one machine."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# EX_CONFIG of sysexits.h, and gunicorn's own code for an app that cannot load.
CANNOT_START = frozenset({78, 4})
STOP_SECONDS = 12.0
RESTART_PAUSE_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: between fork and exec a child of many threads may do little.
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


@dataclass
class Program:
    """One supervised process and how to start it again."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    given_up: bool = False
    starts: int = 0
    restart_at: float = 0.0


@dataclass
class Supervisor:
    """Keeps programs running; at `stop` nothing that it started is left."""

    programs: list[Program] = field(default_factory=list)

    def start(self, program: Program) -> Program:
        self.programs.append(program)
        _spawn(program)
        return program

    def start_again(self, program: Program) -> None:
        """Start a program that has ended, also one that was given up."""
        _signal_group(program, signal.SIGKILL)
        program.given_up = False
        _spawn(program)

    def watch(self) -> None:
        """Start again what has died; give up on what says that a restart will not help."""
        for program in self.programs:
            code = program.process.poll() if program.process else None
            if code is None or program.given_up:
                continue
            if code in CANNOT_START:
                program.given_up = True
            elif program.restart_at == 0.0:
                program.restart_at = time.monotonic() + RESTART_PAUSE_SECONDS
            elif time.monotonic() >= program.restart_at:
                self.start_again(program)

    def stop(self) -> None:
        """Stop in the reverse order of starting; what does not obey in time is killed."""
        for program in reversed(self.programs):
            _signal_group(program, signal.SIGTERM)
        give_up_at = time.monotonic() + STOP_SECONDS
        for program in reversed(self.programs):
            _wait(program, until=give_up_at)
        for program in self.programs:
            _signal_group(program, signal.SIGKILL)


def _spawn(program: Program) -> None:
    program.starts += 1
    program.restart_at = 0.0
    with program.log.open("ab") as log:
        program.process = subprocess.Popen(
            program.command,
            env=dict(program.env),
            cwd=program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - it makes one system call
        )


def _die_with_parent() -> None:
    """On Linux the kernel ends the child when the supervisor dies, even by SIGKILL."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_group(program: Program, number: signal.Signals) -> None:
    if program.process is None:
        return
    try:
        os.killpg(program.process.pid, number)
    except ProcessLookupError:
        return


def _wait(program: Program, *, until: float) -> None:
    if program.process is None:
        return
    try:
        program.process.wait(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        _signal_group(program, signal.SIGKILL)
        program.process.wait()
