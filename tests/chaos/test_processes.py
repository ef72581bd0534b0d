"""The processes of a program: which work in its pool, and how they end."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.chaos import processes
from tools.supervisor import Program, Supervisor

READY = "print('ready', flush=True)"
OBEDIENT = f"import time; {READY}; time.sleep(99)"
DEAF = (
    f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}; time.sleep(99)"
)
# The command line of a child as Python's own spawn writes it.
POOL = f"""
import subprocess, sys, time
child = "{OBEDIENT}; from multiprocessing.spawn import spawn_main"
subprocess.Popen([sys.executable, "-c", child])
subprocess.Popen([sys.executable, "-c", "{OBEDIENT}"])
time.sleep(99)
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    one = Supervisor()
    yield one
    for program in one.programs:
        processes.kill_group(program)


def started(supervisor: Supervisor, folder: Path, source: str, lines: int = 1) -> Program:
    log = folder / "one.log"
    command = [sys.executable, "-c", source]
    program = supervisor.start(Program("one", command, dict(os.environ), folder, log))
    while log.read_text(encoding="utf-8").count("ready") < lines:
        pass
    return program


def test_only_children_that_run_tasks_are_of_the_pool(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = started(supervisor, tmp_path, POOL, lines=2)

    (child,) = processes.pool_children(program)

    assert child != processes.parent(program)
    processes.signal_group(program, signal.SIGKILL)


@pytest.mark.parametrize(("source", "obeys"), [(OBEDIENT, True), (DEAF, False)])
def test_a_program_that_does_not_end_when_asked_is_told(
    supervisor: Supervisor, tmp_path: Path, source: str, *, obeys: bool
) -> None:
    program = started(supervisor, tmp_path, source)

    assert processes.end(program, seconds=5.0 if obeys else 0.3) is obeys


def test_a_killed_program_is_gone_and_may_be_killed_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = started(supervisor, tmp_path, DEAF)

    for _ in range(2):
        processes.kill_group(program)

    assert program.process is not None
    assert program.process.returncode == -signal.SIGKILL


def test_a_program_that_was_never_started_has_no_process(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="never started"):
        processes.parent(Program("one", [], {}, tmp_path, tmp_path / "log"))
