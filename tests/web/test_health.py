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
    ready["next_clinic_key"] = False

    without_worker = client.get("/readyz")
    with world.sessions() as session, session.begin():
        keys.enrol_process(session, world.enrolment_key, program="worker")
    with_worker = client.get("/readyz")

    assert (without_worker.status_code, without_worker.json) == (200, {**ready, "worker": False})
    assert (with_worker.status_code, with_worker.json) == (200, {**ready, "worker": True})


def test_a_key_that_follows_the_present_one_is_told(migrated: Flask, world: World) -> None:
    with world.sessions() as session, session.begin():
        keys.publish_epochs(session, world.master, world.root_private, count=1)
    assert migrated.test_client().get("/readyz").json["next_clinic_key"] is True


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


INSIDE = {"SERVER_PORT": "9101"}


@both_databases
def test_the_invariants_are_told_on_the_internal_port_alone(migrated: Flask, world: World) -> None:
    world.submit(world.alice)
    with world.sessions() as session, session.begin():
        keys.enrol_process(
            session, b"s", program="worker", model_version="v9", model_fingerprint="a" * 64
        )
    client = migrated.test_client()

    inside = client.get("/invariants", environ_overrides=INSIDE)

    assert inside.status_code == 200
    assert inside.json["oldest_due"] is not None
    assert (inside.json["expired_leases"], inside.json["dead"]) == (0, 0)
    assert (inside.json["workers_alive"], inside.json["model_fingerprint"]) == (1, "a" * 64)
    assert client.get("/invariants").status_code == 404
    assert client.get("/metrics").status_code == 404
    believed = client.get(
        "/metrics", headers={"Host": "localhost:9101", "X-Forwarded-Port": "9101"}
    )
    assert believed.status_code == 404


def test_requests_are_counted_by_route_and_never_by_address(client: FlaskClient) -> None:
    client.get("/sign-in-link/a-secret-token")
    client.get("/no/such/page?patient=Jane")

    text = client.get("/metrics", environ_overrides=INSIDE).text

    assert 'route="portal.sign_in_link",status="404"' in text
    assert 'route="unknown",status="404"' in text
    assert 'dermqueue_http_request_seconds_bucket{le="0.005",part="portal"}' in text
    assert "secret" not in text
    assert "Jane" not in text
