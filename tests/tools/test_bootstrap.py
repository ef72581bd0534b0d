"""The set-up of the virtual environment: once, pinned, and with words when it fails."""

import subprocess
from pathlib import Path

import pytest

from tools import bootstrap


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A project folder with one pinned package; what would be run is noted."""
    run: list[list[str]] = []

    def note(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        run.append(command)
        (tmp_path / ".venv").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 0)

    (tmp_path / "requirements.lock").write_text("Flask==3.1.3\n", encoding="utf-8")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(bootstrap.subprocess, "run", note)
    return run


def test_the_environment_is_made_and_the_packages_are_installed(
    commands: list[list[str]], tmp_path: Path
) -> None:
    bootstrap.ensure("requirements.txt")

    made, installed, _ = commands
    assert made[1:3] == ["-m", "venv"]
    assert installed[-2:] == ["-r", str(tmp_path / "requirements.lock")]
    assert {"--require-hashes", "--no-deps"} <= set(installed)


def test_torch_for_processors_is_enough_where_it_is_offered(
    commands: list[list[str]], tmp_path: Path
) -> None:
    bootstrap.ensure("requirements.txt")

    assert commands[-1][-1] == str(tmp_path / "requirements-torch-cpu.lock")


def test_elsewhere_torch_comes_with_its_cuda_libraries(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_offered(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        (tmp_path / ".venv").mkdir(exist_ok=True)
        status = int(command[-1].endswith("torch-cpu.lock"))
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(bootstrap.subprocess, "run", not_offered)
    bootstrap.ensure("requirements.txt")

    assert commands[-1][-1] == str(tmp_path / "requirements-torch.lock")
    assert "--require-hashes" in commands[-1]


def test_a_second_call_does_nothing_until_a_pin_changes(
    commands: list[list[str]], tmp_path: Path
) -> None:
    bootstrap.ensure("requirements.txt")
    commands.clear()
    bootstrap.ensure("requirements.txt")
    assert commands == []

    (tmp_path / "requirements.lock").write_text("Flask==3.1.4\n", encoding="utf-8")
    bootstrap.ensure("requirements.txt")
    assert commands


def test_a_failure_leaves_no_stamp_and_says_what_is_usual(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / ".venv").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(bootstrap.subprocess, "run", fail)
    with pytest.raises(SystemExit, match="python3-venv"):
        bootstrap.ensure("requirements.txt")
    assert commands == []
    assert list((tmp_path / ".venv").iterdir()) == []


def test_an_old_python_is_refused(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"3\.11 or newer"):
        bootstrap.ensure("requirements.txt")
    assert commands == []
