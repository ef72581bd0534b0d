"""Cases from before, and those of an earlier version beside the new one, are watched too."""

from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from tests.migrations.test_migrations import config
from tests.migrations.test_migrations import connection as connection  # noqa: PLC0414 - a fixture

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WATCHED = text("SELECT id FROM submission WHERE escalate_at < CURRENT_TIMESTAMP ORDER BY id")


def add_case(connection: Connection, case: str, state: str) -> None:
    """As a program of the version before adds it."""
    connection.execute(
        text(
            "INSERT INTO submission (id, patient_id, clinic_id, body_site, body_side,"
            " ai_permitted, received_at, due_at, queued_at, case_state, urgency,"
            " screening_state, attempt, not_before)"
            " VALUES (:id, 'p', 'c', 'back', 'left', :yes, :now, :now, :now, :state, 1,"
            " 'done', 1, :now)"
        ),
        {"id": case, "yes": True, "now": NOW, "state": state},
    )


def add_notice(connection: Connection, kind: str) -> None:
    connection.execute(
        text(
            "INSERT INTO notice (id, kind, account_id, address_sealed, created_at, not_before,"
            " attempts) VALUES (:kind, :kind, NULL, :address, :now, :now, 0)"
        ),
        {"kind": kind, "address": b"sealed", "now": NOW},
    )


@pytest.fixture
def before(connection: Connection) -> Connection:
    """Tables of the version before, with an open and a signed case."""
    command.upgrade(config(connection), "0010")
    connection.execute(
        text("INSERT INTO clinic (id, name, phone, time_zone) VALUES ('c', 'C', '1', 'UTC')")
    )
    connection.execute(
        text(
            "INSERT INTO patient (id, clinic_id, record_number, created_at)"
            " VALUES ('p', 'c', 'DQ-1', :now)"
        ),
        {"now": NOW},
    )
    add_case(connection, "open", "awaiting_review")
    add_case(connection, "signed", "signed")
    return connection


def test_open_cases_are_looked_at_at_once_and_signed_ones_never(before: Connection) -> None:
    command.upgrade(config(before), "0011")
    assert list(before.scalars(WATCHED)) == ["open"]


def test_a_case_that_an_earlier_version_adds_is_looked_at_at_once(before: Connection) -> None:
    command.upgrade(config(before), "0011")
    add_case(before, "new", "received")
    assert list(before.scalars(WATCHED)) == ["new", "open"]


def test_the_new_notices_are_known_after_and_unknown_before(before: Connection) -> None:
    command.upgrade(config(before), "0011")
    for kind in ("cases overdue", "new device"):
        add_notice(before, kind)
    with pytest.raises(IntegrityError), before.begin_nested():
        add_notice(before, "nonsense")

    command.downgrade(config(before), "0010")

    assert list(before.scalars(text("SELECT kind FROM notice"))) == ["new device"]
    with pytest.raises(IntegrityError), before.begin_nested():
        add_notice(before, "cases overdue")
    assert set(before.scalars(text("SELECT id FROM submission"))) == {"open", "signed"}
