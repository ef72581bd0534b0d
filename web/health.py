"""/healthz: the process answers. /readyz: everything that it needs is there.

/metrics and /invariants answer on the internal port alone, which no proxy knows.
"""

from datetime import timedelta
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, abort, current_app, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MutexValue, ValueClass
from sqlalchemy import literal, select
from sqlalchemy.exc import SQLAlchemyError

from clinic.records import keys
from clinic.records.clinic_scope import every_clinic
from clinic.records.db import database_now
from clinic.records.operations import snapshot
from web.database import db
from web.permission import public

health = Blueprint("health", __name__)
WORKER_SEEN_WITHIN = timedelta(seconds=45)
MAY_BE_MISSING = ("next_clinic_key", "worker")


@health.get("/healthz")
@public
def healthz() -> Response:
    return jsonify(status="up")


@health.get("/readyz")
@public
def readyz() -> tuple[Response, int]:
    """200 when the portal can serve now; each part is named."""
    try:
        parts = _parts()
    except SQLAlchemyError:
        db.session.rollback()
        parts = {"database": False}
    needed = [name for name in parts if name not in MAY_BE_MISSING]
    ready = all(parts[name] for name in needed)
    return jsonify(ready=ready, **parts), 200 if ready else 503


@health.get("/metrics")
@public
def metrics() -> Response:
    """What all processes of this portal counted; the installation's state is the metrics program's.

    Source: https://prometheus.github.io/client_python/multiprocess/
    """
    _only_inside()
    registry = REGISTRY
    if ValueClass is not MutexValue:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it carries no types
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@health.get("/invariants")
@public
def invariants() -> Response:
    """What must hold of the queue, the keys and the audit chain, in numbers."""
    _only_inside()
    with every_clinic(db.session()):
        found = snapshot(db.session())
    worker = next(iter(found.alive_workers), None)
    return jsonify(
        at=found.taken_at.isoformat(),
        oldest_due=found.oldest_due.isoformat() if found.oldest_due else None,
        expired_leases=found.expired_leases,
        dead=found.dead,
        overdue=sum(one.overdue for one in found.promises),
        workers_alive=len(found.alive_workers),
        model_version=worker.model_version if worker else None,
        model_fingerprint=worker.model_fingerprint if worker else None,
        key_requests_waiting=found.key_service.waiting,
        key_requests_granted=found.key_service.granted,
        audit_head=found.audit.head,
        audit_checked_entries=found.audit.checked_entries,
        audit_problem=found.audit.problem,
    )


def _only_inside() -> None:
    """The port on which this connection came in, as the server's own socket says."""
    if request.server is None or request.server[1] != current_app.config["INTERNAL_PORT"]:
        abort(404)


def _parts() -> dict[str, bool]:
    db.session.execute(select(literal(1)))
    return {
        "database": True,
        "migrations": _at_head(),
        "clinic_key": keys.sealable_until(db.session()) is not None,
        "next_clinic_key": keys.has_next_epoch(db.session()),
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


def _has_worker() -> bool:
    since = database_now(db.session()) - WORKER_SEEN_WITHIN
    return keys.newest_worker(db.session(), since=since) is not None
