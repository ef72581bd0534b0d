"""The PostgreSQL server of the tests: every test has an empty place, nothing stays behind."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from clinic.records.db import make_engine
from tools import postgres as module
from tools.postgres import NoPostgresError, PostgresServer, find_programs


@pytest.mark.postgres
def test_two_fresh_places_know_nothing_of_each_other(postgres: PostgresServer) -> None:
    one, other = (make_engine(postgres.fresh_database()) for _ in range(2))
    with one.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x int)"))

    assert inspect(one).get_table_names() == ["mine"]
    assert inspect(other).get_table_names() == []
    one.dispose()
    other.dispose()


def test_a_machine_without_postgresql_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(module.Path, "glob", lambda _folder, _pattern: iter(()))
    with pytest.raises(NoPostgresError, match="apt-get install postgresql"):
        find_programs()


def test_the_server_on_the_path_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "initdb").touch()
    monkeypatch.setattr(shutil, "which", lambda _name: str(tmp_path / "initdb"))
    assert find_programs() == tmp_path.resolve()
