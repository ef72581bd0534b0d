"""`python -m tools.chaos` as a program: its stacks, its words, and what it leaves behind."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bundles import small_bundle
from tests.processes import processes_that_mention
from tests.sources import ROOT
from tools.chaos import __main__ as program
from tools.chaos.stacks import Broker, Database, NoRedisError, Stack, find_redis


def stacks(**given: object) -> tuple[list[Stack], list[str]]:
    return program._stacks(argparse.Namespace(**{"database": None, "broker": None, **given}))


@pytest.fixture
def both_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find_programs", lambda: Path("/usr/bin"))
    monkeypatch.setattr(program, "find_redis", lambda: Path("/usr/bin/redis-server"))


@pytest.mark.usefixtures("both_servers")
def test_both_stacks_are_tried_when_none_is_named() -> None:
    found, notes = stacks()

    assert [one.name for one in found] == ["SQLite + Valkey", "PostgreSQL + Redis"]
    assert notes == []


@pytest.mark.usefixtures("both_servers")
def test_a_stack_may_be_chosen() -> None:
    assert stacks(database="sqlite", broker="redis")[0] == [Stack(Database.SQLITE, Broker.REDIS)]


def test_without_redis_valkey_stands_in_and_the_table_says_so(
    monkeypatch: pytest.MonkeyPatch, both_servers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del both_servers
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(program, "find_redis", find_redis)

    found, notes = stacks()

    assert found[1].name == "PostgreSQL + Valkey"
    assert "Redis was NOT tried" in notes[0]
    assert notes[0] in capsys.readouterr().out
    with pytest.raises(NoRedisError, match="apt-get install redis-server"):
        find_redis()


def test_an_unknown_fault_ends_the_program_before_anything_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.chaos", "--fault", "99", "--database", "sqlite"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "There is no fault 99" in done.stdout) == (2, True)


@pytest.mark.slow
@pytest.mark.broker
def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    weights, folder = tmp_path / "weights", tmp_path / "temporary"
    small_bundle(weights)
    folder.mkdir()
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "tools.chaos", "--short", "--fault", "7"),
            *("--database", "sqlite", "--weights", str(weights)),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    before, now = [], processes_that_mention(str(folder))
    while len(now) < 5 or now != before:  # until the programs run and none is being started
        assert run.poll() is None
        time.sleep(1.0)
        before, now = now, processes_that_mention(str(folder))

    run.send_signal(signal.SIGINT)
    words, _ = run.communicate(timeout=60)

    assert (run.returncode, words.splitlines()[-1]) == (130, "Stopped.")
    assert processes_that_mention(str(folder)) == []
    assert list(folder.iterdir()) == []
