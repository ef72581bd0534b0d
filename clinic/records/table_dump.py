"""All tables as lines of text that either database takes: the database's part of a backup.

A line of JSON names a table and its columns, the lines after it are its rows, the very last one
counts them all. The text describes itself, so that tables of an older version can be filled before
they are brought up to date. docs/adr/0014 says why this is not pg_dump.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Date,
    LargeBinary,
    Table,
    column,
    create_engine,
    event,
    insert,
    select,
    table,
)
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import NullType, TypeEngine

from clinic.records.db import Base, UtcDateTime, engine_options
from clinic.records.models import (
    AuditHead,
    Invitation,
    KeyRequest,
    KnownDevice,
    LoginSession,
    Notice,
    OneTimeLink,
    PasskeyChallenge,
    ProcessKey,
    SignInLink,
)

# Whoever is signed in or running now is not so after a restore, and no link works a second time.
LEFT_OUT = frozenset(
    one.__tablename__
    for one in (
        *(LoginSession, SignInLink, KeyRequest, ProcessKey, KnownDevice, PasskeyChallenge),
        *(OneTimeLink, Invitation, Notice),
    )
)
ROWS_AT_ONCE = 500

_KINDS: dict[str, TypeEngine[Any]] = {
    "bytes": LargeBinary(),
    "time": UtcDateTime(),
    "date": Date(),
    "json": JSON(none_as_null=True),
    "plain": NullType(),
}


class DumpError(Exception):
    """The text is not a whole dump."""


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """The database as it is at this moment, however it changes; no writer is held up.

    REPEATABLE READ on PostgreSQL; on SQLite a reader's transaction over the write-ahead log.
    """
    engine = create_engine(url, **engine_options(url))
    try:
        if engine.dialect.name == "sqlite":
            _begin_as_reader(engine)
            options: dict[str, Any] = {}
        else:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as connection:
            connection.execute(select(AuditHead.sequence))  # the first read fixes the moment
            yield connection
    finally:
        engine.dispose()


def _begin_as_reader(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # else the driver begins, and only at the first write

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


def dump(connection: Connection) -> Iterator[bytes]:
    """Every row of every table but the ones left out, in an order that respects foreign keys."""
    count = 0
    for one in Base.metadata.sorted_tables:
        if one.name in LEFT_OUT:
            continue
        kinds = {each.name: _kind(each.type) for each in one.columns}
        yield _json({"table": one.name, "columns": kinds})
        for row in _rows(connection, one):
            yield _json([_out(kind, row[name]) for name, kind in kinds.items()])
            count += 1
    yield _json({"rows": count})


def _rows(connection: Connection, one: Table) -> Iterable[Any]:
    query = select(one).order_by(*one.primary_key.columns)
    found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
    return found.mappings()


class TableLoader:
    """Fills empty tables from a dump that arrives in pieces. Call `finish` at its end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cut = b""
        self._kinds: dict[str, str] = {}
        self._table: TableClause | None = None
        self._waiting: list[dict[str, Any]] = []
        self._count = 0
        self._expected: int | None = None

    def write(self, data: bytes) -> None:
        *lines, self._cut = (self._cut + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def finish(self) -> int:
        """Return how many rows were loaded.

        Raises:
            DumpError: the dump ended before its last line.

        """
        if self._cut or self._expected != self._count:
            raise DumpError("The database's part is not whole.")
        return self._count

    def _take(self, said: Any) -> None:
        if isinstance(said, list):
            values = zip(self._kinds.items(), said, strict=True)
            self._waiting.append({name: _in(kind, value) for (name, kind), value in values})
            self._count += 1
            if len(self._waiting) == ROWS_AT_ONCE:
                self._insert()
            return
        self._insert()
        if "rows" in said:
            self._expected = said["rows"]
        else:
            self._kinds = said["columns"]
            columns = [column(name, _KINDS[kind]) for name, kind in self._kinds.items()]
            self._table = table(said["table"], *columns)

    def _insert(self) -> None:
        if self._waiting and self._table is not None:
            self._connection.execute(insert(self._table), self._waiting)
            self._waiting = []


def _kind(of: TypeEngine[Any]) -> str:
    for name, known in _KINDS.items():
        if isinstance(of, type(known)):
            return name
    return "plain"


def _out(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "bytes":
        return base64.b64encode(value).decode()
    return value.isoformat() if kind in {"time", "date"} else value


def _in(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "bytes":
        return base64.b64decode(value)
    if kind == "time":
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if kind == "date" else value


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
