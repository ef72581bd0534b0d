"""What a program uses counts all that it started."""

import subprocess
import sys

from tools.process_usage import usage_of

MIB = 1024 * 1024
BURN = "import time\nwhile time.process_time() < 0.2: pass\n"
HOLD = f"block = bytearray(b'x' * {64 * MIB})\nprint(flush=True)\ninput()\n"


def run(program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_child_counts_while_it_runs_and_after_its_end() -> None:
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n"
    with run(child + "print(flush=True)\ninput()") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert usage_of(process.pid).cpu_seconds >= 0.2
        process.kill()


def test_memory_is_that_of_the_whole_family() -> None:
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOLD!r}])"
    with run(parent) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert usage_of(process.pid).memory_bytes > 64 * MIB
        assert process.stdin is not None
        process.stdin.close()


def test_a_process_that_has_ended_uses_nothing() -> None:
    with run("") as process:
        process.wait()
    assert usage_of(process.pid).cpu_seconds == 0
    assert usage_of(process.pid).memory_bytes == 0
