"""What a database would do for our queries, and how often it is asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from clinic.records.db import SessionFactory


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Every statement with its parameters, in order."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan_of(sessions: SessionFactory, work: Callable[[Session], object]) -> str:
    """The plans of all that `work` selects: a full scan stands there only for want of an index."""
    with sessions() as session:
        engine = session.get_bind()
        assert isinstance(engine, Engine)
        with statements(engine) as seen:
            work(session)
    selects = [one for one in seen if one[0].lstrip().startswith("SELECT")]
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if not sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_bitmapscan = off")
        explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
        return "\n".join(
            str(row)
            for statement, parameters in selects
            for row in connection.exec_driver_sql(explain + statement, parameters)
        )
