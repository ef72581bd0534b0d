"""The stacks that faults are tried on: a database and a broker, each a real server."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tools.installation import Installation
from tools.ports import free_port
from tools.postgres import PostgresServer

LEASE_SECONDS = 10


class Database(StrEnum):
    SQLITE = "sqlite"
    POSTGRES = "postgres"


class Broker(StrEnum):
    VALKEY = "valkey"
    REDIS = "redis"


_NAMES = {
    Database.SQLITE: "SQLite",
    Database.POSTGRES: "PostgreSQL",
    Broker.VALKEY: "Valkey",
    Broker.REDIS: "Redis",
}


class NoRedisError(Exception):
    """No Redis server was found; the message says how to get one."""


@dataclass(frozen=True)
class Stack:
    database: Database
    broker: Broker

    @property
    def name(self) -> str:
        return f"{_NAMES[self.database]} + {_NAMES[self.broker]}"


@dataclass(frozen=True)
class ChaosInstallation(Installation):
    """An installation with short leases, whose temporary files lie where the search looks."""

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "DERMQUEUE_LEASE_SECONDS": str(LEASE_SECONDS),
            "TMPDIR": str(self.folder / "temporary"),
        }


def find_redis() -> Path:
    """Find the program of a real Redis server.

    Raises:
        NoRedisError: it is not installed.

    """
    found = shutil.which("redis-server")
    if found is None:
        raise NoRedisError("Redis is not installed: apt-get install redis-server")
    return Path(found)


@contextmanager
def database_server(stack: Stack) -> Iterator[PostgresServer | None]:
    """The database server of a stack while the block runs; SQLite needs none."""
    if stack.database is Database.SQLITE:
        yield None
    else:
        with PostgresServer.started() as server:
            yield server


def new_installation(
    folder: Path, stack: Stack, server: PostgresServer | None, weights: Path
) -> ChaosInstallation:
    """An installation of its own below `folder`; nothing is started yet."""
    (folder / "temporary").mkdir(parents=True)
    return ChaosInstallation(
        folder,
        free_port(),
        free_port(),
        weights,
        server.fresh_database() if server else None,
        find_redis() if stack.broker is Broker.REDIS else None,
    )
