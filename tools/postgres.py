"""A PostgreSQL server for tests and benchmarks: own data folder, own port, gone afterwards."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from tools.ports import free_port

OWNERS = ("postgres", "nobody")  # initdb refuses to run as root


class NoPostgresError(Exception):
    """PostgreSQL's server programs were not found."""


@dataclass(frozen=True)
class PostgresServer:
    port: int
    data: Path
    fsync: bool = False

    @classmethod
    @contextmanager
    def started(cls, *, fsync: bool = False) -> Iterator["PostgresServer"]:
        """Run a fresh server; everything is removed at the end.

        Without `fsync` a commit does not wait for the disk: right for tests, wrong for its speed.
        """
        programs = find_programs()
        folder = Path(tempfile.mkdtemp(prefix="dermqueue-postgres-"))
        data, port = folder / "data", free_port()
        owner = _owner()
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        try:
            init = ["--auth=trust", "--username=dermqueue", "--encoding=UTF8", "--no-sync"]
            _run(owner, [programs / "initdb", "-D", data, *init])
            server = cls(port, data, fsync)
            server.start()
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # it may have been stopped before
                cls(port, data).stop()
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k '' -c fsync={'on' if self.fsync else 'off'}"
        control = [find_programs() / "pg_ctl", "-D", self.data, "-w"]
        _run(_owner(), [*control, "-o", options, "start"])

    def stop(self) -> None:
        """End it as a crash would: no connection is let finish."""
        _run(_owner(), [find_programs() / "pg_ctl", "-D", self.data, "-m", "immediate", "stop"])

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://dermqueue@127.0.0.1:{self.port}/postgres"

    def fresh_database(self) -> str:
        """The address of an empty place for tables.

        It is a schema: a database of its own would copy some 300 files for each test.
        """
        name = f"test_{secrets.token_hex(6)}"
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        engine.dispose()
        return f"{self.url}?options=-csearch_path%3D{name}"


def find_programs() -> Path:
    """Find the folder of initdb and pg_ctl.

    Raises:
        NoPostgresError: they are not installed.

    """
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise NoPostgresError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


def _owner() -> pwd.struct_passwd | None:
    """Return the account that runs the server when we are root, else None."""
    if os.geteuid() != 0:
        return None
    for name in OWNERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgresError("PostgreSQL does not run as root, and there is no account for it.")


def _run(owner: pwd.struct_passwd | None, command: list[object]) -> None:
    as_owner = {"user": owner.pw_uid, "group": owner.pw_gid} if owner else {}
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        **as_owner,  # type: ignore[call-overload]
    )
