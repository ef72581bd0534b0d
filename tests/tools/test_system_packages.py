"""Servers of the system's packages: seen where they are, installed only where that is allowed."""

import os
import shutil
import subprocess

import pytest

from tools import system_packages
from tools.postgres import NoPostgresError, find_programs


@pytest.mark.parametrize(
    ("present", "program"),
    [
        (system_packages.has_redis, "redis-server"),
        (system_packages.has_chromium, "chromium"),
        (system_packages.has_postgres, "initdb"),
    ],
)
def test_a_program_on_the_path_is_there(
    monkeypatch: pytest.MonkeyPatch, present: object, program: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(shutil, "which", lambda name: asked.append(name) or f"/usr/bin/{name}")

    assert present()  # type: ignore[operator]
    assert asked == [program]


def test_postgresql_is_looked_for_where_it_is_found_later() -> None:
    try:
        find_programs()
    except NoPostgresError:
        assert not system_packages.has_postgres()
    else:
        assert system_packages.has_postgres()


@pytest.mark.parametrize(("user", "apt"), [(1000, "/usr/bin/apt-get"), (0, None)])
def test_without_the_right_or_the_means_nothing_is_tried(
    monkeypatch: pytest.MonkeyPatch, user: int, apt: str | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda _: apt)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it ran a command"))

    system_packages.install(["redis-server"])


def test_root_installs_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: ran.append(command))

    system_packages.install(["redis-server"])

    assert [command[1] for command in ran] == ["update", "install"]
    assert ran[1][-1] == "redis-server"
