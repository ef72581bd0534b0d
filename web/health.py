"""/healthz: the process answers. /readyz: everything that it needs is there."""

from datetime import timedelta
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, current_app, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from clinic.records import keys
from clinic.records.db import database_now
from web.database import db
from web.permission import public

health = Blueprint("health", __name__)
WORKER_SEEN_WITHIN = timedelta(seconds=45)


@health.get("/healthz")
@public
def healthz() -> Response:
    return jsonify(status="up")


@health.get("/readyz")
@public
def readyz() -> tuple[Response, int]:
    """200 when the portal can serve; each part is named. A missing worker does not make it 503."""
    try:
        parts = _parts()
    except SQLAlchemyError:
        db.session.rollback()
        parts = {"database": False}
    needed = [name for name in parts if name != "worker"]
    ready = all(parts[name] for name in needed)
    return jsonify(ready=ready, **parts), 200 if ready else 503


def _parts() -> dict[str, bool]:
    db.session.execute(text("SELECT 1"))
    return {
        "database": True,
        "migrations": _at_head(),
        "clinic_key": _has_epoch(),
        "worker": _has_worker(),
    }


def _at_head() -> bool:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(current_app.root_path).parent / "migrations")
    )
    heads = set(ScriptDirectory.from_config(config).get_heads())
    current = set(MigrationContext.configure(db.session.connection()).get_current_heads())
    return heads == current


def _has_epoch() -> bool:
    try:
        keys.current_epoch(db.session())
    except keys.NoEpochKeyError:
        return False
    return True


def _has_worker() -> bool:
    since = database_now(db.session()) - WORKER_SEEN_WITHIN
    return keys.newest_worker(db.session(), since=since) is not None
