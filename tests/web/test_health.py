"""/healthz and /readyz: what a load balancer asks."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text

from clinic.records import keys
from clinic.records.db import database_now
from clinic.records.models import EpochKeyRow
from tests.portal_tools import both_databases
from tests.world import World
from web.database import db

MIGRATIONS = Path(__file__).parents[2] / "migrations"


@pytest.fixture
def migrated(app: Flask) -> Flask:
    """The portal's database says that every migration has run."""
    with app.app_context(), db.engine.begin() as connection:
        MigrationContext.configure(connection).stamp(ScriptDirectory(str(MIGRATIONS)), "head")
    return app


@both_databases
def test_a_complete_installation_is_ready(migrated: Flask, world: World) -> None:
    client = migrated.test_client()
    assert client.get("/healthz").json == {"status": "up"}
    ready = {"ready": True, "database": True, "migrations": True, "clinic_key": True}

    without_worker = client.get("/readyz")
    with world.sessions() as session, session.begin():
        keys.enrol_process(session, world.enrolment_key, program="worker")
    with_worker = client.get("/readyz")

    assert (without_worker.status_code, without_worker.json) == (200, {**ready, "worker": False})
    assert (with_worker.status_code, with_worker.json) == (200, {**ready, "worker": True})


@both_databases
def test_an_old_migration_is_not_ready(migrated: Flask) -> None:
    with migrated.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    answer = migrated.test_client().get("/readyz")

    assert (answer.status_code, answer.json["ready"], answer.json["migrations"]) == (
        503,
        False,
        False,
    )


def test_tables_without_any_migration_are_not_ready(client: FlaskClient) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json["migrations"]) == (503, False)


def test_without_a_valid_clinic_key_nothing_is_ready(migrated: Flask, world: World) -> None:
    with world.sessions() as session, session.begin():
        row = session.query(EpochKeyRow).one()
        row.not_after = database_now(session) - timedelta(seconds=1)

    answer = migrated.test_client().get("/readyz")

    assert (answer.status_code, answer.json["clinic_key"]) == (503, False)


def test_without_the_database_the_process_is_up_but_not_ready(migrated: Flask) -> None:
    with migrated.app_context():

        @event.listens_for(db.engine, "do_connect")
        def _refuse(*_: Any) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        db.engine.dispose()
    client = migrated.test_client()

    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (503, {"ready": False, "database": False})
