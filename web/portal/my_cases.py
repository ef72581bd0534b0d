"""The patient's own cases: status first, the dermatologist's words after signing only."""

from datetime import datetime, timedelta
from typing import Any

from flask import render_template

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records import audit_log, review, submissions
from clinic.records.db import database_now
from clinic.records.models import Account, AuditEntry, SignedReport, Submission
from clinic.submission import CaseState
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.forms import RetakePhotosForm
from web.portal.texts import case_texts
from web.portal.upload import photo_slots, upload_context
from web.portal.viewing import pictures_of
from web.portal.wording import VIEW_LABELS, is_late, reference, site_words

ACCESS_LOG_LENGTH = 200
SAME_VISIT = timedelta(minutes=15)

_ACTION_WORDS = {
    AuditAction.CASE_READ: "read your case",
    AuditAction.OBJECT_FETCHED: "opened a picture",
    AuditAction.CASE_CLAIMED: "took your case to read it",
    AuditAction.CASE_SIGNED: "signed your result",
    AuditAction.FIRST_READ_RECORDED: "wrote down a first impression",
    AuditAction.SUBMISSION_RECEIVED: "sent photos",
    AuditAction.SUBMISSION_SCREENED: "sorted your photos",
    AuditAction.RETAKE_REQUESTED: "asked for new photos",
    AuditAction.PHOTOS_REPLACED: "sent new photos",
    AuditAction.RESULT_READ: "read the result",
    AuditAction.STATUS_READ: "looked at the status",
    AuditAction.EHR_READ: "received your signed result",
    AuditAction.EMERGENCY_ACCESS: "opened your case in an emergency, two people together",
    AuditAction.CASE_EXPORTED: "copied your photos for research, without your name",
    AuditAction.ACCESS_DENIED: "tried to open your record and was refused",
}

_PROGRAM_WORDS = {
    "worker": ("The computer", "program of the clinic"),
    "reconciler": ("The computer", "program of the clinic"),
    "keeper": ("The key service", "program of the clinic"),
}


@portal.get("/cases")
@allowed(Permission.KEEP_OWN_RECORD)
def my_cases() -> str:
    rows = submissions.of_patient(db.session(), me().actor.patient_id or "")
    now = database_now(db.session())
    cases = [_card(row, now) for row in rows]
    audit(AuditAction.STATUS_READ, detail="list")
    db.session.commit()
    return render_template("dashboard.html", cases=cases)


@portal.get("/cases/<case_id>")
@allowed(Permission.KEEP_OWN_RECORD)
def my_case(case_id: str) -> str:
    row, facts = case_for(case_id, Permission.SEE_OWN_STATUS)
    report = submissions.signed_report(db.session(), row.id) if facts.signed else None
    photos = [
        {"view": one.view, "label": VIEW_LABELS.get(one.view or "", "Photo")}
        for one in pictures_of(row)
    ]
    context: dict[str, Any] = {
        "case": _card(row, database_now(db.session())),
        "photos": photos,
        "grant_url": f"/cases/{row.id}/grants",
        "result": None,
        "retake": None,
    }
    audit(AuditAction.RESULT_READ if report else AuditAction.STATUS_READ, row)
    if row.case_state == CaseState.UNREADABLE:
        context |= _retake_context(row)
    if report is not None:
        context["result"] = _result(row, report)
    db.session.commit()
    return render_template("case_status.html", **context)


@portal.get("/my-record/access")
@allowed(Permission.KEEP_OWN_RECORD)
def my_access_log() -> str:
    """Who opened my record, and why."""
    patient_id = me().actor.patient_id or ""
    entries = audit_log.about_patient(db.session(), patient_id, limit=ACCESS_LOG_LENGTH)
    known = [one for one in entries if AuditAction(one.action) in _ACTION_WORDS]
    shown = _gathered([_entry(one) for one in known])
    audit(AuditAction.ACCESS_LOG_READ)
    db.session.commit()
    return render_template("my_record_access.html", entries=shown, next_cursor=None)


def _card(row: Submission, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "reference": reference(row.id),
        "state": CaseState(row.case_state),
        "site": site_words(row),
        "sent_at": row.received_at,
        "promised_at": row.due_at,
        "late": row.case_state != CaseState.SIGNED and is_late(row, now),
    }


def _retake_context(row: Submission) -> dict[str, Any]:
    slots = photo_slots(submissions.next_photo_slot(db.session(), row.id))
    form = RetakePhotosForm(formdata=None, submission_id=row.id)
    retake = {"reasons": [row.retake_reason or ""], "message": ""}
    return {"retake": retake, "form": form, **upload_context(row.id, slots)}


def _result(row: Submission, report: SignedReport) -> dict[str, Any]:
    signer = db.session.get_one(Account, report.signer_id)
    screening = review.result_of(db.session(), row.id)
    texts = case_texts(row, [ObjectKind.LETTER])
    return {
        "plan": report.plan,
        "text": texts.letter or "",
        "ai_used": screening is not None and screening.ai_used,
        "image_quality": report.image_quality,
        "signed_at": report.signed_at,
        "signer_name": f"{signer.given_name} {signer.family_name}",
        "registration_number": signer.registration_number,
        "version": report.version,
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    who, role = _who(entry.actor)
    words = _ACTION_WORDS[AuditAction(entry.action)]
    return {"at": entry.at, "who": who, "role": role, "action": words, "times": 1}


def _gathered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same act by the same person within minutes is one line with a count."""
    shown: list[dict[str, Any]] = []
    for entry in entries:
        last = shown[-1] if shown else None
        same = last is not None and all(last[key] == entry[key] for key in ("who", "action"))
        if last is not None and same and last["at"] - entry["at"] < SAME_VISIT:
            last["times"] += 1
        else:
            shown.append(entry)
    return shown


def _who(actor: str) -> tuple[str, str]:
    if actor in _PROGRAM_WORDS:
        return _PROGRAM_WORDS[actor]
    if actor == me().actor.user_id:
        return "You", "patient"
    if actor.startswith("ehr:"):
        return "A record system of your care", "registered system"
    account = db.session.get(Account, actor)
    if account is None or account.family_name is None:
        return "A member of the clinic", account.role if account else "staff"
    return f"{account.given_name} {account.family_name}", account.role
