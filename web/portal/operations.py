"""For administrators and auditors: the state of the machine. No photo, no clinical text."""

from datetime import datetime
from typing import Any

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission, may
from clinic.audit_event import AuditAction
from clinic.escalation import PROMISE_WORDS, STEP_WORDS, Level, Promise
from clinic.records import consents, escalations, live_answers
from clinic.records import operations as records
from clinic.records.consents import CareWithdrawn
from clinic.records.db import database_now
from clinic.records.live_answers import ModelDrift
from clinic.records.models import Submission
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal.actor_names import actor_names
from web.portal.blueprint import portal
from web.portal.drift_chart import LEVEL_SENTENCES, LEVEL_WORDS, charts
from web.portal.operations_view import live_part
from web.portal.wording import reference

PAGE_SIZE = 50


@portal.get("/operations")
@allowed(Permission.SEE_OPERATIONS)
def operations() -> str:
    operates = may(me().actor, Permission.OPERATE)
    context = {
        "live": live_part(records.snapshot(db.session())),
        "dead_cases": _dead_cases() if operates else None,
        "escalated": _escalated() if operates else None,
        "care_withdrawn": _care_withdrawn() if operates else None,
        "drift": _drift(live_answers.model_drift(db.session())),
    }
    audit(AuditAction.OPERATIONS_READ)
    db.session.commit()
    return render_template("operations.html", **context)


@portal.get("/operations/live")
@allowed(Permission.SEE_OPERATIONS)
def operations_live() -> str:
    """The numbers alone, for the page that refreshes itself. No case is named: no audit entry."""
    live = live_part(records.snapshot(db.session()))
    return render_template("_operations_live.html", live=live)


@portal.post("/operations/dead/<case_id>/retry")
@allowed(Permission.OPERATE)
def retry_dead_case(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.RETRY_SCREENING)
    if not records.retry_dead(db.session(), row.id):
        db.session.rollback()
        abort(409, "This case is not waiting for the computer any more. Load the page again.")
    audit(AuditAction.SCREENING_RETRIED, row, detail=f"after {row.attempt} attempts")
    db.session.commit()
    flash(f"Case {reference(row.id)} goes to the computer once more.")
    return redirect(url_for("portal.operations"))


def _dead_cases() -> list[dict[str, Any]]:
    now = database_now(db.session())
    found = records.dead_cases(db.session(), clinic_id=me().actor.clinic_id, limit=PAGE_SIZE)
    return [_dead_case(row, now) for row in found]


def _escalated() -> list[dict[str, Any]]:
    """The newest steps: which promise of which case, and who was told."""
    found = escalations.newest(db.session(), clinic_id=me().actor.clinic_id, limit=PAGE_SIZE)
    names = actor_names(db.session(), {one for row in found for one in row.told})
    return [
        {
            "reference": reference(row.submission_id),
            "promise": PROMISE_WORDS[Promise(row.promise)],
            "level": STEP_WORDS[Level(row.level)],
            "broken": row.level == Level.BREACH,
            "due_at": row.due_at,
            "at": row.at,
            "told": [names[one] for one in row.told if one in names],
        }
        for row in found
    ]


def _care_withdrawn() -> list[CareWithdrawn]:
    clinic_id = me().actor.clinic_id
    return consents.care_withdrawn(db.session(), clinic_id=clinic_id, limit=PAGE_SIZE)


def _dead_case(row: Submission, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "reference": reference(row.id),
        "attempts": row.attempt,
        "reason": row.last_failure or "",
        "since": row.received_at,
        "free": row.claim_until is None or row.claim_until <= now,
    }


def _drift(found: ModelDrift | None) -> dict[str, Any] | None:
    if found is None:
        return None
    words, colour = LEVEL_WORDS[found.drift.level]
    return {
        "version": found.model_version,
        "words": words,
        "colour": colour,
        "sentence": LEVEL_SENTENCES[found.drift.level],
        "reference_size": found.drift.reference_size,
        "window_size": found.drift.window_size,
        "charts": charts(found.drift),
    }
