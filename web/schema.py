"""The version of the tables: which one a database has, and bringing it to another one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from clinic.records.restore import Schema

_FOLDER = Path(__file__).resolve().parent.parent / "migrations"


class OutdatedTablesError(Exception):
    """The tables are not of this software's version."""


def revision_of(connection: Connection) -> str | None:
    """The version that a database's tables have; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision(connection: Connection) -> str:
    """The version of the tables, which must be the newest one.

    Raises:
        OutdatedTablesError: it is not.

    """
    found, newest = revision_of(connection), ScriptDirectory(str(_FOLDER)).get_current_head()
    if found is None or found != newest:
        raise OutdatedTablesError(
            f"The tables have the version {found}, this software knows {newest}: "
            "run `flask db upgrade` first."
        )
    return found


def knows(revision: str) -> bool:
    """Whether this software can make tables of that version."""
    known = ScriptDirectory(str(_FOLDER)).walk_revisions()
    return revision in {one.revision for one in known}


def remove_tables(connection: Connection) -> None:
    """Take every table away, in the transaction that the connection is in."""
    command.downgrade(_config(connection), "base")


def upgrade(connection: Connection, revision: str) -> None:
    """Bring the tables up to a version, in the transaction that the connection is in."""
    command.upgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


SCHEMA = Schema(knows=knows, remove_tables=remove_tables, upgrade=upgrade)
