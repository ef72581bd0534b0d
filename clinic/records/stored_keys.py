"""All living keys that a master key wraps: walked in small transactions, and counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sqlalchemy import ColumnElement, Connection, LargeBinary, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from clinic.master_key import PREFIX_BYTES, key_id_of, prefix_of
from clinic.records.db import SessionFactory
from clinic.records.models import EpochKeyRow, PatientKey

BATCH = 50

Row = EpochKeyRow | PatientKey
_KINDS: tuple[tuple[type[Row], InstrumentedAttribute[bytes | None]], ...] = (
    (EpochKeyRow, EpochKeyRow.private_wrapped),
    (PatientKey, PatientKey.wrapped),
)


@dataclass(frozen=True)
class StoredKey:
    """A row and the name of its column that a master key wraps."""

    row: Row
    column: str

    @property
    def wrapped(self) -> bytes:
        found: bytes = getattr(self.row, self.column)
        return found

    def set_wrapped(self, wrapped: bytes) -> None:
        setattr(self.row, self.column, wrapped)


def walk(
    sessions: SessionFactory, change: Callable[[StoredKey], bool], *, but_of: str | None = None
) -> int:
    """Hand every living key to `change`, a small transaction for each batch; count the changed.

    Rows are locked in the order of their ids. With `but_of`, those that this master key wraps are
    left out.
    """
    changed = 0
    for table, column in _KINDS:
        after: str | None = ""
        while after is not None:
            query = select(table).where(column.is_not(None), table.kid > after)
            if but_of is not None:
                query = query.where(_prefix(column) != prefix_of(but_of))
            with sessions() as session, session.begin():
                rows = session.scalars(query.order_by(table.kid).limit(BATCH).with_for_update())
                found = [StoredKey(cast("Row", row), column.key) for row in rows]
                changed += sum(change(one) for one in found)
            after = found[-1].row.kid if found else None
    return changed


def by_master_key(session: Session | Connection) -> dict[str, int]:
    """How many living keys each master key wraps, by its id."""
    counts: dict[str, int] = {}
    for _, column in _KINDS:
        prefix = _prefix(column)
        query = select(prefix, func.count()).where(column.is_not(None)).group_by(prefix)
        for found, count in session.execute(query):
            key_id = key_id_of(bytes(found))
            counts[key_id] = counts.get(key_id, 0) + count
    return counts


def without_emergency_copy(session: Session) -> int:
    """How many living keys have no emergency copy."""
    return sum(
        session.scalar(
            select(func.count())
            .select_from(table)
            .where(column.is_not(None), table.emergency_copy.is_(None))
        )
        or 0
        for table, column in _KINDS
    )


def _prefix(column: InstrumentedAttribute[bytes | None]) -> ColumnElement[bytes]:
    found: ColumnElement[bytes] = func.substr(column, 1, PREFIX_BYTES, type_=LargeBinary)
    return found
