"""Code put into a program from outside: it reaches the program, and only with its own path."""

import subprocess
import sys
from pathlib import Path

from tools.installation import ROOT

ASK = "import datetime, time; print(time.time(), datetime.datetime.now(datetime.UTC).timestamp())"


def clocks(*folders: Path) -> tuple[float, float]:
    """What a fresh process says of the time: two clocks that must agree."""
    path = ":".join(map(str, (*folders, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={"PYTHONPATH": path},
        capture_output=True,
        check=True,
        text=True,
    )
    first, second = map(float, done.stdout.split())
    return first, second


def test_a_process_with_the_injection_has_another_time(tmp_path: Path) -> None:
    shift = tmp_path / "clock"
    shift.write_text("7200")
    code = f"from tools.chaos.injected.shifted_clock import inject\ninject({str(shift)!r})\n"
    (tmp_path / "sitecustomize.py").write_text(code)

    right, wrong = clocks(), clocks(tmp_path)

    for one, other in zip(right, wrong, strict=True):
        assert 7200 <= other - one < 7260  # a process later


def test_the_clock_follows_its_file(tmp_path: Path) -> None:
    shift = tmp_path / "clock"
    shift.write_text("0")
    code = f"from tools.chaos.injected.shifted_clock import inject\ninject({str(shift)!r})\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    before, _ = clocks(tmp_path)

    shift.write_text("-3600")

    after, _ = clocks(tmp_path)
    assert -3601 < after - before < -3500
