"""`python -m worker PROGRAM`: what cannot work refuses to start and says why in one line."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bundles import small_bundle
from tests.sources import ROOT
from tests.worker.test_analyst import HARMS
from tools.ports import free_port
from worker.__main__ import CANNOT_START, PROGRAMS

KEY = base64.b64encode(b"k" * 32).decode()


@dataclass(frozen=True)
class End:
    code: int
    words: str


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    master = tmp_path / "master.key"
    master.write_bytes(b"m" * 32)
    master.chmod(0o400)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DERMQUEUE_ENVIRONMENT": "test",
        "DERMQUEUE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}",
        "DERMQUEUE_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",
        "DERMQUEUE_BLOB_DIR": str(tmp_path / "blobs"),
        "DERMQUEUE_WEIGHTS_DIR": str(tmp_path / "weights"),
        "DERMQUEUE_AUDIT_KEY": KEY,
        "DERMQUEUE_ENROLMENT_KEY": KEY,
        "DERMQUEUE_MASTER_KEY_FILE": str(master),
        "DERMQUEUE_ROOT_PUBLIC_KEY": KEY,
    }


def run(program: str, environment: dict[str, str]) -> End:
    done = subprocess.run(
        [sys.executable, "-m", "worker", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return End(done.returncode, done.stderr.strip())


def assert_refused(end: End, *words: str) -> None:
    assert end.code == CANNOT_START, end.words
    assert len(end.words.splitlines()) == 1, end.words
    for word in words:
        assert word in end.words


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_missing_setting_is_named(program: str, environment: dict[str, str]) -> None:
    del environment["DERMQUEUE_ENVIRONMENT"]
    assert_refused(run(program, environment), "DERMQUEUE_ENVIRONMENT", PROGRAMS[program])


def test_a_worker_without_a_folder_of_weights_names_the_setting(
    environment: dict[str, str],
) -> None:
    del environment["DERMQUEUE_WEIGHTS_DIR"]
    assert_refused(run("inference", environment), "DERMQUEUE_WEIGHTS_DIR")


@pytest.mark.parametrize("harm", HARMS[:3], ids=lambda one: one.__name__)
def test_weights_that_cannot_be_used_keep_the_worker_from_starting(
    environment: dict[str, str], tmp_path: Path, harm: Callable[[Path], str]
) -> None:
    small_bundle(tmp_path / "weights")
    named = harm(tmp_path / "weights")
    assert_refused(run("inference", environment), str(tmp_path / "weights"), named)


def test_an_empty_folder_of_weights_is_named(environment: dict[str, str]) -> None:
    assert_refused(run("inference", environment), environment["DERMQUEUE_WEIGHTS_DIR"])


def test_a_master_key_that_others_may_read_keeps_the_keeper_from_starting(
    environment: dict[str, str],
) -> None:
    Path(environment["DERMQUEUE_MASTER_KEY_FILE"]).chmod(0o644)
    assert_refused(run("keeper", environment), "chmod 0400")


def test_an_unknown_program_is_told_the_known_ones(environment: dict[str, str]) -> None:
    end = run("librarian", environment)
    assert end.code == 2
    assert "reconciler" in end.words
