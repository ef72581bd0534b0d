"""Engine, sessions and column types. SQLite serves one box, PostgreSQL a clinic."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Engine, create_engine, event, func, select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

SessionFactory = Callable[[], Session]

# What a database raises that is down, starting, out of connections or locked for too long.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)

SQLITE_BUSY_SECONDS = 20


class Base(DeclarativeBase):
    """All tables share this metadata; the portal and the worker see the same."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC. Naive values are refused, since they hide a time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone cannot be stored.")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def new_id() -> str:
    """A random public id: 128 bits, hex, also a valid FHIR id."""
    return secrets.token_hex(16)


def engine_options(url: str) -> dict[str, Any]:
    """What `create_engine` needs besides the address. Errors never quote a statement's values."""
    if url.startswith("sqlite"):
        connecting = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
        return {"hide_parameters": True, "connect_args": connecting}
    connecting = {"connect_timeout": 5}
    return {"hide_parameters": True, "pool_pre_ping": True, "connect_args": connecting}


def make_engine(url: str) -> Engine:
    engine = create_engine(url, **engine_options(url))
    prepare_engine(engine)
    return engine


def prepare_engine(engine: Engine) -> None:
    """Make SQLite durable and its transactions serial: the write lock is taken at BEGIN.

    A deferred transaction that turns into a writer can fail at once with SQLITE_BUSY, and almost
    every request here writes an audit entry. See docs/adr/0003.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def every_clinic_sessions(engine: Engine) -> sessionmaker[Session]:
    """For programs and commands, which serve all clinics; a request's session serves one."""
    return sessionmaker(engine, expire_on_commit=False)


def database_now(session: Session) -> datetime:
    """The database's clock: the one clock that all hosts share."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    found: datetime = session.scalars(select(func.clock_timestamp())).one()
    return found.astimezone(UTC)
