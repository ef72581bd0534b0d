"""The container parser under a coverage-guided fuzzer: refusals of its own kind, or a container."""

import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.conftest import Budget
from tests.sources import ROOT


def fuzz(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.fuzz.container_target", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_bytes_break_the_container_parser(budget: Budget, tmp_path: Path) -> None:
    options = [f"-runs={budget.inputs * 10}", "-max_len=4096", f"-artifact_prefix={tmp_path}/"]
    options += ["-seed=1"] if budget.is_short else []

    done = fuzz(tmp_path, *options)

    assert done.returncode == 0, done.stderr[-4000:]
    tried = re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)
    budget.tried = max(map(int, tried))
    assert budget.tried >= budget.inputs * 10
