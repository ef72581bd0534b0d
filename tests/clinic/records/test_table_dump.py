"""Every row of every table comes through a dump as it was, from either database into either."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from clinic.records.db import Base, database_now, make_engine
from clinic.records.models import (
    AuditCheck,
    KeyRequest,
    LoginSession,
)
from clinic.records.table_dump import LEFT_OUT, DumpError, TableLoader, dump, snapshot
from tests.filled_tables import fill
from tests.world import Role, World
from tools.postgres import PostgresServer

NEW_DATABASE = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=NEW_DATABASE)
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Another empty database, of the same kind or the other one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh_database()


def lively(world: World) -> None:
    """Rows in every table, with empty and full columns of every type."""
    fill(world, world.alice, world.bob)
    world.submit(world.carol)
    with world.sessions() as session, session.begin():
        session.add(AuditCheck(id=1, entries=3, checked_at=database_now(session)))


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    engine = make_engine(url)
    with engine.connect() as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(_ordered(table))]
            for table in Base.metadata.sorted_tables
        }
    engine.dispose()
    return found


def _ordered(table):
    return select(table).order_by(*table.primary_key.columns)


def load(url: str, pieces: list[bytes]) -> int:
    engine = make_engine(url)
    try:
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            loader = TableLoader(connection)
            for piece in pieces:
                loader.write(piece)
            return loader.finish()
    finally:
        engine.dispose()


def test_every_row_comes_through_but_of_those_who_are_signed_in(
    world: World, database_url: str, new_url: str
) -> None:
    lively(world)
    with snapshot(database_url) as connection:
        text = b"".join(dump(connection))

    loaded = load(new_url, [text[at : at + 1000] for at in range(0, len(text), 1000)])

    before, after = rows(database_url), rows(new_url)
    filled = {name for name, found in before.items() if found}
    assert filled >= set(Base.metadata.tables) - {"ehr_client", *LEFT_OUT}
    for name, found in before.items():
        assert after[name] == ([] if name in LEFT_OUT else found), name
    assert loaded == sum(map(len, after.values()))


@pytest.mark.parametrize("cut", ["the last line", "a row", "half a line"])
def test_a_dump_that_is_not_whole_is_refused(
    world: World, database_url: str, tmp_path: Path, cut: str
) -> None:
    with snapshot(database_url) as connection:
        lines = list(dump(connection))
    row = next(line for line in reversed(lines) if line.startswith(b"["))
    shorter = {
        "the last line": lines[:-1],
        "a row": [line for line in lines if line != row],
        "half a line": [*lines[:-1], lines[-1][:4]],
    }[cut]
    assert world.clinic_id
    with pytest.raises(DumpError, match="not whole"):
        load(f"sqlite:///{tmp_path / 'new.db'}", shorter)


def test_a_snapshot_stays_as_it_was_while_others_write(world: World, database_url: str) -> None:
    with snapshot(database_url) as connection:
        lines = dump(connection)
        before = next(lines)
        at_once(lambda: world.add_person("gina", Role.PATIENT))
        text = before + b"".join(lines)

    assert world.alice.account_id.encode() in text
    assert world.gina.account_id.encode() not in text


def at_once(write: Callable[[], object]) -> None:
    """The writer is not held up by a reader of the same database."""
    writer = threading.Thread(target=write)
    writer.start()
    writer.join(timeout=10)
    assert not writer.is_alive()


def test_what_is_left_out_is_who_is_signed_in_and_what_runs() -> None:
    assert {LoginSession.__tablename__, KeyRequest.__tablename__} < LEFT_OUT
    assert {"sign_in_link", "process_key"} < LEFT_OUT
    kept = [one for one in Base.metadata.sorted_tables if one.name not in LEFT_OUT]
    assert not [
        (one.name, key.column.table.name)
        for one in kept
        for key in one.foreign_keys
        if key.column.table.name in LEFT_OUT
    ]
