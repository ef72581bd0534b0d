"""For administrators: the state of the machine and the audit log. No photo, no clinical text."""

from datetime import datetime, timedelta
from typing import Any

from flask import abort, render_template, request

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.records import audit_log
from clinic.records import operations as records
from clinic.records.db import database_now
from clinic.records.models import AuditEntry, ProcessKey
from clinic.records.operations import Depth
from web.database import db
from web.guard import audit, me
from web.permission import roles
from web.portal.blueprint import portal
from web.portal.wording import reference
from web.services import services

ALIVE_WITHIN = timedelta(seconds=45)
PAGE_SIZE = 50


@portal.get("/operations")
@roles(Role.ADMINISTRATOR)
def operations() -> str:
    now = database_now(db.session())
    processes = records.newest_processes(db.session())
    worker = processes.get("worker")
    context = {
        "queue": [_depth(one, now) for one in records.depths(db.session())],
        "dead_cases": [
            {
                "reference": reference(row.id),
                "attempts": row.attempt,
                "reason": row.last_failure or "",
                "since": row.received_at,
            }
            for row in records.dead_cases(db.session(), limit=PAGE_SIZE)
        ],
        "programs": [_program("worker", worker, now), _program("web", processes.get("web"), now)],
        "model": {"version": worker.model_version, "fingerprint": worker.model_fingerprint}
        if worker and now - worker.last_seen_at < ALIVE_WITHIN
        else None,
        "audit": _chain(now),
    }
    audit(AuditAction.OPERATIONS_READ)
    db.session.commit()
    return render_template("operations.html", **context)


@portal.get("/audit", endpoint="audit_log")
@roles(Role.ADMINISTRATOR)
def search_audit_log() -> str:
    action = request.args.get("action") or None
    if action is not None and action not in {str(one) for one in AuditAction}:
        abort(400, "There is no such action.")
    found = audit_log.search(
        db.session(),
        query=audit_log.AuditQuery(
            clinic_id=me().actor.clinic_id,
            action=action,
            actor=request.args.get("actor") or None,
            reference=(request.args.get("reference") or "").replace("-", "").lower() or None,
        ),
        before=request.args.get("after", type=int),
        limit=PAGE_SIZE + 1,
    )
    more = str(found[PAGE_SIZE - 1].sequence) if len(found) > PAGE_SIZE else None
    chain = _chain(database_now(db.session()))
    audit(AuditAction.AUDIT_SEARCHED, detail=action or "all")
    db.session.commit()
    filters = {name: request.args.get(name, "") for name in ("actor", "action", "reference")}
    return render_template(
        "audit_search.html",
        filters=filters,
        actions=[str(one) for one in AuditAction],
        entries=[_entry(one) for one in found[:PAGE_SIZE]],
        audit=chain,
        next_cursor=more,
    )


def _depth(one: Depth, now: datetime) -> dict[str, Any]:
    counts = one.by_urgency
    return {
        "state": one.state,
        "urgent": counts.get(0, 0),
        "suspicious": counts.get(1, 0),
        "routine": counts.get(2, 0),
        "unsorted": counts.get(None, 0),
        "total": sum(counts.values()),
        "oldest": now - one.oldest if one.oldest else None,
    }


def _program(name: str, row: ProcessKey | None, now: datetime) -> dict[str, Any]:
    if name == "web":
        return {"name": name, "alive": True, "last_seen": now, "detail": "serves this page"}
    alive = row is not None and now - row.last_seen_at < ALIVE_WITHIN
    return {
        "name": name,
        "alive": alive,
        "last_seen": row.last_seen_at if row else None,
        "detail": row.model_version or "" if row else "",
    }


def _chain(now: datetime) -> dict[str, Any]:
    broken = audit_log.verify(db.session(), services().auditor.key)
    return {
        "intact": broken is None,
        "entries": records.audit_entries(db.session()),
        "checked_at": now,
        "first_bad": broken,
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    subject = f"case {reference(entry.submission_id)}" if entry.submission_id else ""
    return {
        "sequence": entry.sequence,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "subject": " ".join(part for part in (subject, entry.detail) if part),
        "allowed": entry.allowed,
    }
