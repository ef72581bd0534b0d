"""Nothing that the supervisor started outlives it, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sources import ROOT
from tools import supervisor as module
from tools.supervisor import CANNOT_START, Program, Supervisor

# Each program writes the ids of its processes into the file that is its argument.
SLEEPER = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()} '); time.sleep(99)"
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}, sys.argv[1]])
open(sys.argv[1], "a").write(f"{{os.getpid()}} ")
try:
    time.sleep(99)
finally:
    child.wait()
"""
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPER}"
PARENT_OF_STUBBORN = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {STUBBORN!r}, sys.argv[1]])
open(sys.argv[1], "a").write(f"{{os.getpid()}} ")
time.sleep(99)
"""
POLITE_PARENT = f"""
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}, sys.argv[1]])
def stop(*_):
    child.terminate()
    child.wait()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1], "a").write(f"{{os.getpid()}} ")
time.sleep(99)
"""


def program(folder: Path, source: str, name: str = "one") -> Program:
    command = [sys.executable, "-c", source, str(folder / f"{name}.pids")]
    return Program(name, command, dict(os.environ), folder, folder / f"{name}.log")


def pids(folder: Path, name: str = "one") -> list[int]:
    path = folder / f"{name}.pids"
    return [int(one) for one in path.read_text(encoding="utf-8").split()] if path.exists() else []


def lives(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(module, "STOP_SECONDS", 1.5)
    monkeypatch.setattr(module, "RESTART_PAUSE_SECONDS", 0.05)
    one = Supervisor()
    yield one
    one.stop()


@pytest.mark.parametrize(
    ("source", "processes"),
    [(SLEEPER, 1), (PARENT, 2), (STUBBORN, 1)],
    ids=["simple", "with a grandchild", "deaf to SIGTERM"],
)
def test_stop_leaves_no_process(
    supervisor: Supervisor, tmp_path: Path, source: str, processes: int
) -> None:
    supervisor.start(program(tmp_path, source))
    until(lambda: len(pids(tmp_path)) == processes)
    assert all(lives(pid) for pid in pids(tmp_path))

    supervisor.stop()

    until(lambda: not any(lives(pid) for pid in pids(tmp_path)), seconds=2)


def test_a_grandchild_that_outlived_its_parent_is_stopped_too(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(program(tmp_path, PARENT))
    until(lambda: len(pids(tmp_path)) == 2)
    one = supervisor.programs[0]
    assert one.process is not None
    one.process.kill()
    one.process.wait()

    supervisor.stop()

    until(lambda: not any(lives(pid) for pid in pids(tmp_path)), seconds=2)


def test_a_deaf_grandchild_of_an_obedient_parent_is_stopped_too(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(program(tmp_path, PARENT_OF_STUBBORN))
    until(lambda: len(pids(tmp_path)) == 2)

    supervisor.stop()

    until(lambda: not any(lives(pid) for pid in pids(tmp_path)), seconds=2)


def test_a_crashed_program_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    one = supervisor.start(program(tmp_path, SLEEPER))
    until(lambda: len(pids(tmp_path)) == 1)
    os.kill(pids(tmp_path)[0], signal.SIGKILL)

    def again() -> bool:
        supervisor.watch()
        return len(pids(tmp_path)) == 2

    until(again)
    assert (one.starts, one.given_up) == (2, False)
    assert lives(pids(tmp_path)[1])


def test_what_a_crashed_program_left_is_gone_before_it_starts_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    one = supervisor.start(program(tmp_path, PARENT))
    until(lambda: len(pids(tmp_path)) == 2)
    first = pids(tmp_path)
    assert one.process is not None
    one.process.kill()

    def again() -> bool:
        supervisor.watch()
        return len(pids(tmp_path)) == 4

    until(again)
    assert not any(lives(pid) for pid in first)


@pytest.mark.parametrize("code", sorted(CANNOT_START))
def test_a_program_that_cannot_start_is_left_alone(
    supervisor: Supervisor, tmp_path: Path, code: int
) -> None:
    source = f"import sys; print('no key'); sys.exit({code})"
    one = supervisor.start(program(tmp_path, source))

    def given_up() -> bool:
        supervisor.watch()
        return one.given_up

    until(given_up)
    for _ in range(5):
        supervisor.watch()
        time.sleep(0.03)
    assert one.starts == 1
    assert one.log.read_text(encoding="utf-8") == "no key\n"


def test_a_program_that_was_given_up_starts_again_by_order(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    source = (
        f"import pathlib, sys, time\nif not pathlib.Path({str(mended)!r}).exists(): sys.exit(78)"
    )
    one = supervisor.start(program(tmp_path, f"{source}\ntime.sleep(99)"))

    def given_up() -> bool:
        supervisor.watch()
        return one.given_up

    until(given_up)
    mended.touch()
    supervisor.start_again(one)
    supervisor.watch()

    assert (one.given_up, one.starts) == (False, 2)
    assert one.process is not None
    assert one.process.poll() is None


def test_programs_stop_in_the_reverse_order_of_their_start(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        supervisor.start(program(tmp_path, SLEEPER, name))
        until(lambda name=name: len(pids(tmp_path, name)) == 1)  # type: ignore[misc]
    asked: list[tuple[int, int]] = []
    real = os.killpg
    monkeypatch.setattr(
        os, "killpg", lambda pid, number: (asked.append((pid, number)), real(pid, number))
    )
    supervisor.stop()

    (first,), (second,) = pids(tmp_path, "first"), pids(tmp_path, "second")
    assert asked[:2] == [(second, signal.SIGTERM), (first, signal.SIGTERM)]


SUPERVISING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.tools.test_supervisor import POLITE_PARENT, SLEEPER, program
from tools.supervisor import Supervisor
from pathlib import Path
supervisor, folder = Supervisor(), Path(sys.argv[2])
supervisor.start(program(folder, SLEEPER, "one"))
supervisor.start(program(folder, POLITE_PARENT, "two"))
time.sleep(99)
"""


def test_when_the_supervisor_itself_is_killed_its_programs_end(tmp_path: Path) -> None:
    watching = subprocess.Popen([sys.executable, "-c", SUPERVISING, str(ROOT), str(tmp_path)])
    until(lambda: len(pids(tmp_path, "one")) == 1 and len(pids(tmp_path, "two")) == 2)
    watching.kill()
    watching.wait()

    every = pids(tmp_path, "one") + pids(tmp_path, "two")
    until(lambda: not any(lives(pid) for pid in every), seconds=5)
