"""The audit log for those who watch over it: search by time, person, action, answer; CSV."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from flask import Response, abort, render_template, request
from werkzeug.datastructures import MultiDict

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.record_archive import csv_file
from clinic.records import audit_log, erasure, people
from clinic.records import operations as records
from clinic.records.audit_log import AuditQuery
from clinic.records.models import AuditEntry
from web.database import db
from web.guard import audit, me
from web.local_clinic import local_clinic
from web.permission import allowed
from web.portal.actor_names import actor_names, staff_name
from web.portal.blueprint import portal
from web.portal.wording import reference
from web.rate_limits import EXPORTS_PER_ACCOUNT, by_person, limited

PAGE_SIZE = 50
LONGEST_CSV = 50_000  # entries
FILTERS = ("actor", "action", "reference", "patient", "allowed", "from", "to")
CSV_COLUMNS = (
    *("sequence", "at", "actor", "name", "action", "patient_id", "submission_id", "allowed"),
    "detail",
)
_ANSWERS = {"": None, "yes": True, "no": False}
NOBODY = "no such patient"  # matches no id


@dataclass(frozen=True)
class Asked:
    """A search as it was typed, and as the records understand it."""

    typed: dict[str, str]
    query: AuditQuery


@portal.get("/audit", endpoint="audit_log")
@allowed(Permission.SEARCH_AUDIT)
def search_audit_log() -> str:
    asked = _asked(request.args)
    found = audit_log.search(
        db.session(),
        query=asked.query,
        before=request.args.get("after", type=_sequence),
        limit=PAGE_SIZE + 1,
    )
    more = str(found[PAGE_SIZE - 1].sequence) if len(found) > PAGE_SIZE else None
    shown = found[:PAGE_SIZE]
    names = actor_names(db.session(), {one.actor for one in shown})
    chain = records.audit_chain(db.session())
    audit(AuditAction.AUDIT_SEARCHED, detail=_summary(asked))
    db.session.commit()
    return render_template(
        "audit_search.html",
        filters=asked.typed,
        actions=[str(one) for one in AuditAction],
        people=_people(asked.query.actor),
        entries=[_entry(one, names) for one in shown],
        audit=chain,
        next_cursor=more,
    )


def _people(chosen: str | None) -> list[tuple[str, str]]:
    """Whom a search can ask for: the staff, and the one that was chosen in the table below."""
    staff = people.staff_of(db.session(), me().actor.clinic_id)
    named = [(one.id, staff_name(one)) for one in staff]
    if chosen is None or chosen in dict(named):
        return named
    return [*named, (chosen, actor_names(db.session(), {chosen}).get(chosen, chosen))]


def _sequence(text: str) -> int:
    """A place in the chain; raises ValueError for what no database could count to."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


@portal.get("/audit.csv")
@allowed(Permission.SEARCH_AUDIT)
@limited(EXPORTS_PER_ACCOUNT, methods=["GET"], key_func=by_person)
def export_audit_log() -> Response:
    """What the search finds, as a table; its newest LONGEST_CSV entries."""
    asked = _asked(request.args)
    found = audit_log.search(db.session(), query=asked.query, before=None, limit=LONGEST_CSV)
    table = csv_file("audit.csv", list(_rows(found)), CSV_COLUMNS)
    audit(AuditAction.AUDIT_EXPORTED, detail=f"{len(found)} entries: {_summary(asked)}")
    db.session.commit()
    response = Response(table.content, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{table.name}"'
    return response


def _asked(arguments: "MultiDict[str, str]") -> Asked:
    typed = {name: arguments.get(name, "").strip() for name in FILTERS}
    action, answer = typed["action"], typed["allowed"]
    if action and action not in {str(one) for one in AuditAction}:
        abort(400, "There is no such action.")
    if answer not in _ANSWERS:
        abort(400, "Choose allowed, denied, or any answer.")
    to = _midnight(typed["to"])
    query = AuditQuery(
        clinic_id=me().actor.clinic_id,
        action=action or None,
        actor=typed["actor"] or None,
        patient_id=_patient_id(typed["patient"]),
        reference=typed["reference"].replace("-", "").lower() or None,
        allowed=_ANSWERS[answer],
        start=_midnight(typed["from"]),
        end=to + timedelta(days=1) if to else None,
    )
    return Asked(typed, query)


def _midnight(text: str) -> datetime | None:
    """The begin of a day in the clinic's own zone, in UTC."""
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
        return datetime.combine(day, time(), local_clinic().zone).astimezone(UTC)
    except (ValueError, OverflowError):
        abort(400, "Write a day like 2026-11-23.")


def _patient_id(typed: str) -> str | None:
    """Auditors know record numbers; the chain knows ids, also of those who were erased."""
    if not typed:
        return None
    found = erasure.find_patient(db.session(), typed)
    if found is not None:
        return found.patient_id
    return typed.lower() if len(typed) == 32 else NOBODY


def _summary(asked: Asked) -> str:
    """Which filters were used; of what was typed only the action, which is a code."""
    used = [name for name in FILTERS if asked.typed[name] and name != "action"]
    return ", ".join([asked.typed["action"] or "all", *used])


def _rows(found: list[AuditEntry]) -> Iterator[dict[str, object]]:
    names = actor_names(db.session(), {one.actor for one in found})
    for one in found:
        values = {name: getattr(one, name) for name in CSV_COLUMNS if name != "name"}
        yield values | {"at": one.at.isoformat(), "name": names.get(one.actor, "")}


def _entry(entry: AuditEntry, names: dict[str, str]) -> dict[str, Any]:
    subject = f"case {reference(entry.submission_id)}" if entry.submission_id else ""
    return {
        "sequence": entry.sequence,
        "at": entry.at,
        "actor": entry.actor,
        "name": names.get(entry.actor, entry.actor),
        "action": entry.action,
        "subject": " ".join(part for part in (subject, entry.detail) if part),
        "allowed": entry.allowed,
    }
