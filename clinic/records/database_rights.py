"""PostgreSQL's rights of the running programs: a role that owns no table and only adds to audits.

Triggers refuse every change of the audit chain already; a table's owner could switch them off. So
programs connect as another role than the one that makes the tables.
"""

from psycopg import sql
from sqlalchemy import Connection, make_url, text

# What the role may do with a table that is not like all others.
_RIGHTS = {
    "audit_entry": "SELECT, INSERT",
    "audit_head": "SELECT, INSERT, UPDATE",
    "alembic_version": "SELECT",
}
_EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"


class RightsError(Exception):
    """The programs' role cannot be made; the message says why."""


def let_programs_in(connection: Connection, programs_url: str) -> None:
    """Make or mend the role of this address, with its rights on the tables that there are.

    Raises:
        RightsError: the address names no role of its own, or no password.

    """
    url = make_url(programs_url)
    if not url.username or not url.password:
        raise RightsError("DERMQUEUE_PROGRAMS_URL needs the name and the password of a role.")
    if url.username == connection.scalar(text("SELECT current_user")):
        raise RightsError(
            "DERMQUEUE_PROGRAMS_URL names the role that owns the tables: whoever has it could "
            "switch off what protects the audit chain. Name another role."
        )
    schema = connection.scalar(text("SELECT current_schema()")) or "public"
    role = sql.Identifier(url.username)
    _run(connection, _made_role(connection, url.username, url.password))
    _run(connection, sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
    tables = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
    for name in connection.scalars(tables, {"schema": schema}).all():
        table, rights = sql.Identifier(schema, name), sql.SQL(_RIGHTS.get(name, _EVERYTHING))
        _run(connection, sql.SQL("REVOKE ALL ON {} FROM {}").format(table, role))
        _run(connection, sql.SQL("GRANT {} ON {} TO {}").format(rights, table, role))


def _made_role(connection: Connection, name: str, password: str) -> sql.Composed:
    """The statement carries a SCRAM verifier (RFC 5802), not the password."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise RightsError("The database is away.")
    verifier = driver.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    known = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name})
    words = sql.SQL("ALTER ROLE" if known else "CREATE ROLE")
    limits = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD")
    secret = sql.Literal(verifier.decode())
    return sql.SQL("{} {} {} {}").format(words, sql.Identifier(name), limits, secret)


def _run(connection: Connection, statement: sql.Composed) -> None:
    connection.exec_driver_sql(statement.as_string())
