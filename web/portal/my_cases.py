"""The patient's own cases: status first, the dermatologist's words after signing only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import render_template

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.letter import language_of
from clinic.records import (
    audit_log,
    messages,
    report_versions,
    review,
    sealed_objects,
    submissions,
)
from clinic.records.db import database_now
from clinic.records.models import Account, SignedReport, Submission
from clinic.submission import CaseState
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal import attachments
from web.portal.access_log import access_lines, gathered
from web.portal.blueprint import portal
from web.portal.decision_view import patient_changes
from web.portal.forms import RetakePhotosForm
from web.portal.texts import case_texts, open_each
from web.portal.upload import photo_slots, upload_context
from web.portal.viewing import pictures_of
from web.portal.wording import VIEW_LABELS, is_late, reference, site_words

ACCESS_LOG_LENGTH = 200


@portal.get("/cases")
@allowed(Permission.KEEP_OWN_RECORD)
def my_cases() -> str:
    rows = submissions.of_patient(db.session(), me().actor.patient_id or "")
    now = database_now(db.session())
    unread = messages.unread(db.session(), [row.id for row in rows], from_patient=False)
    cases = [{**_card(row, now), "messages": unread.get(row.id, 0)} for row in rows]
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
        "case": {**_card(row, database_now(db.session())), "messages": _unread(row)},
        "photos": photos,
        "grant_url": f"/cases/{row.id}/grants",
        "result": None,
        "retake": None,
    }
    audit(AuditAction.RESULT_READ if report else AuditAction.STATUS_READ, row)
    if row.case_state == CaseState.UNREADABLE:
        context |= _retake_context(row)
    if report is not None:
        review.mark_told(db.session(), row.id)
        context["result"] = _result(row, report)
    db.session.commit()
    return render_template("case_status.html", **context)


@portal.get("/my-record/access")
@allowed(Permission.KEEP_OWN_RECORD)
def my_access_log() -> str:
    """Who opened my record, and why."""
    patient_id = me().actor.patient_id or ""
    entries = audit_log.about_patient(db.session(), patient_id, limit=ACCESS_LOG_LENGTH)
    shown = gathered(access_lines(entries))
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
        "updated": row.first_told_at is not None and row.told_at is None,
        "late": row.case_state != CaseState.SIGNED and is_late(row, now),
    }


def _unread(row: Submission) -> int:
    return messages.unread(db.session(), [row.id], from_patient=False).get(row.id, 0)


def _retake_context(row: Submission) -> dict[str, Any]:
    slots = photo_slots(sealed_objects.next_slot(db.session(), row.id, ObjectKind.PHOTO))
    form = RetakePhotosForm(formdata=None, submission_id=row.id)
    message = case_texts(row, [ObjectKind.RETAKE]).retake or ""
    retake = {"reasons": [row.retake_reason or ""], "message": message}
    return {"retake": retake, "form": form, **upload_context(row.id, slots)}


def _result(row: Submission, report: SignedReport) -> dict[str, Any]:
    """What counts now, with what a later version changed and the letters before it."""
    signer = db.session.get_one(Account, report.signer_id)
    screening = review.result_of(db.session(), row.id)
    reports = report_versions.versions(db.session(), row.id)
    files = attachments.shown(row, for_patient=True)
    letters = _letters(row, reports)
    return {
        "plan": report.plan,
        "text": letters.get(report.letter_object_id, ""),
        "language": language_of(report.letter_template),
        "follow_up_on": report.follow_up_on,
        "gp_letter": letters.get(report.gp_letter_object_id or "", ""),
        "ai_used": screening is not None and screening.ai_used,
        "image_quality": report.image_quality,
        "signed_at": report.signed_at,
        "signer_name": f"{signer.given_name} {signer.family_name}",
        "registration_number": signer.registration_number,
        "version": report.version,
        "changes": patient_changes(reports),
        "earlier": [
            {"signed_at": one.signed_at, "text": letters.get(one.letter_object_id, "")}
            for one in reversed(reports[:-1])
        ],
        "files": files,
    }


def _letters(row: Submission, reports: Sequence[SignedReport]) -> dict[str, str]:
    """The text of every version, and the newest letter to the GP, by object."""
    ids = [one.letter_object_id for one in reports]
    gp_letter = reports[-1].gp_letter_object_id
    ids += [gp_letter] if gp_letter else []
    return open_each(row, ids)
