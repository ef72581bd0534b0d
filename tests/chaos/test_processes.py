"""What is done to a program's processes: frozen, ended, without room for files, watched."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.chaos.processes import (
    end,
    file_size_limit,
    frozen,
    kill_group,
    parent,
    pool_children,
    resident_bytes,
    signal_group,
)
from tools.supervisor import Program, Supervisor

LARGE = 64 * 1024 * 1024
# Writes as many bytes as it is told and says how that went.
WRITER = """
import sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "wb") as file:
            file.write(bytes(int(line)))
        print("written", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Program]:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    program = Program("writer", command, {}, tmp_path, tmp_path / "log")
    program.process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    yield program
    program.process.kill()
    program.process.communicate()


def say(program: Program, size: int) -> str:
    assert program.process is not None
    assert program.process.stdin is not None
    assert program.process.stdout is not None
    program.process.stdin.write(f"{size}\n".encode())
    program.process.stdin.flush()
    return program.process.stdout.readline().decode().strip()


def state_of(program: Program) -> str:
    status = Path(f"/proc/{parent(program)}/stat").read_text(encoding="utf-8")
    return status.rpartition(")")[2].split()[0]


def test_a_program_has_no_room_while_the_block_runs_and_afterwards_it_has(
    writer: Program,
) -> None:
    with file_size_limit(writer, 4096):
        assert say(writer, 4096) == "written"
        assert say(writer, 8192) != "written"

    assert say(writer, 8192) == "written"


def test_a_program_stands_still_while_the_block_runs(writer: Program) -> None:
    assert say(writer, 1) == "written"
    with frozen(writer):
        while state_of(writer) != "T":  # a signal arrives a moment later
            assert writer.process is not None
            assert writer.process.poll() is None

    assert say(writer, 1) == "written"


def test_the_memory_of_a_program_counts_its_children(tmp_path: Path) -> None:
    large = [sys.executable, "-c", f"held = b'1' * {LARGE}; input()"]
    child = f"import subprocess; subprocess.run({large!r})"
    program = Program("parent", [sys.executable, "-c", child], {}, tmp_path, tmp_path / "log")
    program.process = subprocess.Popen(program.command, stdin=subprocess.PIPE)
    try:
        while resident_bytes(program) < LARGE:
            assert program.process.poll() is None
    finally:
        program.process.communicate(b"\n")

    assert resident_bytes(program) == 0


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
        kill_group(program)


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

    (child,) = pool_children(program)

    assert child != parent(program)
    signal_group(program, signal.SIGKILL)


@pytest.mark.parametrize(("source", "obeys"), [(OBEDIENT, True), (DEAF, False)])
def test_a_program_that_does_not_end_when_asked_is_told(
    supervisor: Supervisor, tmp_path: Path, source: str, *, obeys: bool
) -> None:
    program = started(supervisor, tmp_path, source)

    assert end(program, seconds=5.0 if obeys else 0.3) is obeys


def test_a_killed_program_is_gone_and_may_be_killed_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = started(supervisor, tmp_path, DEAF)

    for _ in range(2):
        kill_group(program)

    assert program.process is not None
    assert program.process.returncode == -signal.SIGKILL


def test_a_program_that_was_never_started_has_no_process(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="never started"):
        parent(Program("one", [], {}, tmp_path, tmp_path / "log"))
