"""The version of the tables is known, and moved by the migrations alone."""

import pytest
from sqlalchemy import Engine, inspect

from tests.backup_tools import mark_as_newest
from web.schema import (
    OutdatedTablesError,
    knows,
    newest_revision,
    remove_tables,
    revision_of,
    upgrade,
)


def test_tables_are_made_and_taken_away_in_the_callers_transaction(engine: Engine) -> None:
    mark_as_newest(engine)
    with engine.connect() as connection, connection.begin() as transaction:
        remove_tables(connection)
        upgrade(connection, "0001")
        assert revision_of(connection) == "0001"
        with pytest.raises(OutdatedTablesError, match="have the version 0001"):
            newest_revision(connection)
        upgrade(connection, "head")
        assert newest_revision(connection) == revision_of(connection)
        remove_tables(connection)
        assert inspect(connection).get_table_names() == ["alembic_version"]
        transaction.rollback()
    with engine.connect() as connection:
        assert newest_revision(connection)
        assert inspect(connection).has_table("submission")


def test_tables_without_a_version_are_outdated(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(OutdatedTablesError, match="version None"):
        newest_revision(connection)


def test_only_versions_of_this_software_are_known() -> None:
    assert knows("0001")
    assert not knows("9999")
