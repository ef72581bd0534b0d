"""Keys that were wrapped before master keys had ids open as before, there and back."""

from datetime import UTC, datetime

import pytest
from alembic import command
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, text

from clinic.master_key import UNNAMED, LocalMasterKey, key_id_of
from tests.migrations.test_migrations import config
from tests.migrations.test_migrations import connection as connection  # noqa: PLC0414 - a fixture

NONCE = b"n" * 12
OLD = NONCE + AESGCM(b"m" * 32).encrypt(NONCE, b"s" * 32, b"patient-1")


def wrapped(connection: Connection, kid: str) -> bytes | None:
    query = text("SELECT wrapped FROM patient_key WHERE kid = :kid")
    found = connection.scalar(query, {"kid": kid})
    return None if found is None else bytes(found)


@pytest.fixture
def before(connection: Connection) -> Connection:
    """Tables of the version before, with a living and a destroyed key."""
    command.upgrade(config(connection), "0006")
    insert = text(
        "INSERT INTO patient_key (kid, patient_id, version, wrapped, created_at, destroyed_at)"
        " VALUES (:kid, :patient, 1, :wrapped, :at, :destroyed)"
    )
    now = datetime(2026, 11, 23, tzinfo=UTC)
    for kid, value, destroyed in (("patient-1", OLD, None), ("patient-2", None, now)):
        row = {"kid": kid, "patient": kid, "wrapped": value, "at": now, "destroyed": destroyed}
        connection.execute(insert, row)
    return connection


def test_a_key_from_before_opens_after_the_migration(before: Connection) -> None:
    command.upgrade(config(before), "0009")

    value = wrapped(before, "patient-1") or b""
    assert key_id_of(value) == UNNAMED
    assert LocalMasterKey(b"m" * 32).unwrap(value, context="patient-1") == b"s" * 32
    assert wrapped(before, "patient-2") is None


def test_the_way_back_leaves_what_was_there(before: Connection) -> None:
    command.upgrade(config(before), "0009")
    command.downgrade(config(before), "0006")
    assert wrapped(before, "patient-1") == OLD
    assert wrapped(before, "patient-2") is None
