"""Bringing an installation with records to several clinics, and back, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from clinic.records.db import make_engine
from tests.migrations.test_migrations import config
from tests.sources import ROOT

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BEFORE = ScriptDirectory(str(ROOT / "migrations")).get_revision("0008").down_revision


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """Two clinics of one name and a third without a letter, each with a screened case."""
    engine = make_engine(database_url)
    with engine.connect() as connection:
        command.upgrade(config(connection), str(BEFORE))
        for number, name in (("1", "St. Mary's Skin"), ("2", "St. Mary's Skin"), ("3", "診療所")):
            _add_clinic(connection, number, name)
        yield connection
    engine.dispose()


def _add(connection: Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)


def _add_clinic(connection: Connection, number: str, name: str) -> None:
    one = number * 32
    _add(connection, "clinic", id=one, name=name, phone="0", time_zone="UTC")
    _add_account(connection, one, one, "patient")
    _add(
        connection,
        "patient",
        id=one,
        clinic_id=one,
        account_id=one,
        record_number=number,
        created_at=NOW,
    )
    times = dict.fromkeys(("received_at", "due_at", "queued_at", "not_before"), NOW)
    states = {"case_state": "awaiting_review", "urgency": 2, "screening_state": "done"}
    site = {"body_site": "back", "body_side": "left", "ai_permitted": False, "attempt": 1}
    owner = {"id": one, "patient_id": one, "clinic_id": one}
    _add(connection, "submission", **owner, **times, **states, **site)
    _add_result(connection, one)


def _add_result(connection: Connection, case: str) -> None:
    lists = dict.fromkeys(("quality_flags", "reasons", "rule_reasons"), "[]")
    _add(
        connection,
        "screening_result",
        submission_id=case,
        ai_used=False,
        urgency=2,
        stage_seconds="{}",
        finished_at=NOW,
        **lists,
    )


def _add_account(connection: Connection, one: str, clinic_id: str, role: str) -> None:
    _add(
        connection,
        "account",
        id=one,
        clinic_id=clinic_id,
        role=role,
        email_index=one,
        email_sealed=b"",
        password_hash="",
        created_at=NOW,
    )


def test_each_clinic_gets_an_address_of_its_own_from_its_name(connection: Connection) -> None:
    command.upgrade(config(connection), "0008")

    slugs = connection.scalars(text("SELECT slug FROM clinic ORDER BY id")).all()
    assert slugs == ["st-mary-s-skin", "st-mary-s-skin-22222222", "clinic"]


def test_each_result_knows_the_clinic_of_its_case(connection: Connection) -> None:
    command.upgrade(config(connection), "0008")

    rows = connection.execute(text("SELECT submission_id, clinic_id FROM screening_result")).all()
    assert sorted(rows) == [(one * 32, one * 32) for one in "123"]
    assert connection.scalar(text("SELECT COUNT(*) FROM account")) == 3


def test_a_result_that_an_earlier_version_writes_gets_the_clinic_of_its_case(
    connection: Connection,
) -> None:
    connection.execute(text("DELETE FROM screening_result"))
    command.upgrade(config(connection), "head")

    _add_result(connection, "2" * 32)

    rows = connection.execute(text("SELECT submission_id, clinic_id FROM screening_result")).all()
    assert rows == [("2" * 32, "2" * 32)]


@pytest.mark.parametrize(("role", "known"), [("auditor", True), ("janitor", False)])
def test_auditors_are_people_from_then_on_and_nobody_else(
    connection: Connection, role: str, *, known: bool
) -> None:
    command.upgrade(config(connection), "0008")

    if known:
        _add_account(connection, "a" * 32, "1" * 32, role)
        return
    with pytest.raises(IntegrityError, match="account_role_is_known"):
        _add_account(connection, "a" * 32, "1" * 32, role)


def test_on_the_way_back_an_auditor_s_account_is_disabled(connection: Connection) -> None:
    command.upgrade(config(connection), "0008")
    _add_account(connection, "a" * 32, "1" * 32, "auditor")

    command.downgrade(config(connection), str(BEFORE))

    role, disabled = connection.execute(
        text("SELECT role, disabled_at FROM account WHERE id = :id"), {"id": "a" * 32}
    ).one()
    assert role == "administrator"
    assert disabled is not None
    assert connection.scalar(text("SELECT COUNT(*) FROM screening_result")) == 3
    connection.rollback()
