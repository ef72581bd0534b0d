"""`bin/demo` as a newcomer runs it: a program, its exit code, its words and its files."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from clinic.access import Role
from clinic.fhir_checks import problems
from ml.labels import CLASSES
from tests.processes import processes_that_mention
from tools.installation import ROOT
from tools.lesion_drawing import save_drawn
from tools.ports import free_port

pytestmark = pytest.mark.slow


def demo(*options: object, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bin" / "demo"), *map(str, options)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, **kwargs
    )


@contextmanager
def demo_in_background(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that a failing test does not wait for."""
    command = [sys.executable, str(ROOT / "bin" / "demo"), "--data", str(data)]
    command += ["--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def await_no_process(text: str) -> list[str]:
    for _ in range(100):
        found = processes_that_mention(text)
        if not found:
            return []
        time.sleep(0.2)
    return found


def test_once_leaves_the_four_files_and_no_process(tmp_path: Path) -> None:
    photo, out, data = tmp_path / "my spot.jpg", tmp_path / "out put", tmp_path / "da ta"
    save_drawn(photo, 21)

    done = demo(*("--once", "--photo", photo, "--out", out, "--data", data, "--port", free_port()))

    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((out / "result.json").read_text())
    assert sorted(result["probabilities"]) == sorted(CLASSES)
    assert sum(result["probabilities"].values()) == pytest.approx(1.0, abs=1e-3)
    assert result["urgency"] in {"urgent", "suspicious", "routine"}
    assert result["reasons"]
    assert len(result["model_fingerprint"]) == 64
    bundle = json.loads((out / "report.json").read_text())
    kinds = {entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert {"DiagnosticReport", "Patient", "Practitioner", "Observation", "Provenance"} <= kinds
    for entry in bundle["entry"]:
        assert problems(entry["resource"]) == []
    with Image.open(out / "heatmap.png") as heatmap:
        assert min(heatmap.size) >= 224
    timings = json.loads((out / "timings.json").read_text())
    assert {"start", "send", "analyse", "review", "export", "worker"} <= set(timings)
    assert await_no_process(str(data)) == []


def test_it_runs_until_ctrl_c_and_then_stops_everything_also_after_a_crash(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with demo_in_background(data) as running:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        links = [line.split()[-1] for line in lines if "/sign-in-link/" in line]
        assert len(links) == len(Role), "".join(lines)
        relay = next(
            pid
            for pid in processes_that_mention(str(data))
            if b"relay" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(int(relay), signal.SIGKILL)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
        assert running.returncode == 0

    assert await_no_process(str(data)) == []


def test_a_killed_demo_leaves_no_orphan(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with demo_in_background(data) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "signs in" in line:
                break
        assert processes_that_mention(str(data))
        running.kill()

    assert await_no_process(str(data)) == []


def test_a_used_port_is_named_and_nothing_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = demo("--once", "--data", tmp_path / "data", "--port", port)

    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stdout


def test_a_file_that_is_no_photo_is_refused_in_words(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a photo")

    done = demo("--once", "--photo", text, "--data", tmp_path / "data", "--port", free_port())

    assert done.returncode == 1
    assert "not a JPEG, PNG or WebP photo" in done.stdout


def test_missing_weights_are_said_and_the_exit_code_is_not_zero(tmp_path: Path) -> None:
    options = ("--data", tmp_path / "data", "--weights", tmp_path, "--port", free_port())

    done = demo("--once", *options)

    assert done.returncode == 1
    assert "The worker cannot start" in done.stdout
    assert await_no_process(str(tmp_path / "data")) == []
