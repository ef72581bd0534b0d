"""What is done to a program's processes: frozen, without room for files, watched for memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.chaos.processes import file_size_limit, frozen, parent, resident_bytes
from tools.supervisor import Program

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
