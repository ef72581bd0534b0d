"""The migrations make exactly the tables of the models, on both databases, there and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from clinic.records.db import make_engine
from clinic.records.models import Base
from tests.sources import ROOT


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """An empty database."""
    engine = make_engine(database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_up_down_and_up_again(connection: Connection) -> None:
    command.upgrade(config(connection), "head")
    assert tables(connection) == set(Base.metadata.tables)

    command.downgrade(config(connection), "base")
    assert tables(connection) == set()

    command.upgrade(config(connection), "head")
    assert tables(connection) == set(Base.metadata.tables)


def test_the_models_match_the_newest_migration(connection: Connection) -> None:
    command.upgrade(config(connection), "head")

    context = MigrationContext.configure(connection, opts={"compare_type": True})

    assert compare_metadata(context, Base.metadata) == []
    command.check(config(connection))


def named_constraints(connection: Connection) -> dict[str, set[str | None]]:
    found = inspect(connection)
    return {
        table: {one["name"] for one in found.get_check_constraints(table)}
        | {one["name"] for one in found.get_unique_constraints(table)}
        for table in tables(connection)
    }


def test_the_migrated_tables_carry_every_rule_of_the_models(connection: Connection) -> None:
    """Autogeneration does not compare CHECK constraints: this does."""
    command.upgrade(config(connection), "head")
    migrated = named_constraints(connection)
    command.downgrade(config(connection), "base")
    Base.metadata.create_all(connection)

    assert named_constraints(connection) == migrated
    assert "submission_running_has_token_and_lease" in migrated["submission"]


def test_there_is_one_head_and_every_revision_can_be_taken_back() -> None:
    script = ScriptDirectory(str(ROOT / "migrations"))
    assert len(script.get_heads()) == 1
    for revision in script.walk_revisions():
        assert "def downgrade" in Path(revision.path).read_text(encoding="utf-8")
