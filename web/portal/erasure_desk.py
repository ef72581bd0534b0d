"""For administrators: the patients' wishes to be erased, each to be answered within a month."""

from typing import Any

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import SelectChoice, SelectField
from wtforms.validators import InputRequired

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.records import erasure, erasure_requests
from clinic.records.db import database_now
from clinic.records.models import ErasureRequest
from clinic.retention import ErasureRefusal, ErasureState, kept_until
from web.database import db
from web.guard import audit, me, missing
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.erasing import erase_now
from web.portal.forms import PortalForm
from web.portal.login import page
from web.services import services
from web.step_up import require_step_up

DECIDED_ALREADY = "This request was decided meanwhile. Load the list again. Nothing was changed."


class RefusalForm(PortalForm):
    reason = SelectField(
        "Reason",
        [InputRequired("Choose the reason.")],
        choices=[
            SelectChoice("", "Choose a reason"),
            *(SelectChoice(str(one), one.sentence) for one in ErasureRefusal),
        ],
    )


@portal.get("/erasure-requests")
@allowed(Permission.DECIDE_ON_ERASURE)
def erasure_desk() -> AnyResponse:
    return _page(RefusalForm(formdata=None), open_form_of=None)


def _page(form: RefusalForm, *, open_form_of: str | None) -> AnyResponse:
    found = erasure_requests.undecided(db.session(), clinic_id=me().actor.clinic_id)
    now = database_now(db.session())
    rows = [_row(one) | {"late": one.due_at < now} for one in found]
    audit(AuditAction.ERASURES_LISTED, detail=f"{len(rows)} requests")
    db.session.commit()
    return page("erasure_desk.html", form, rows=rows, open_form_of=open_form_of)


def _row(one: ErasureRequest) -> dict[str, Any]:
    patient = erasure.find_patient(db.session(), one.patient_id)
    return {
        "id": one.id,
        "granted": one.state == ErasureState.GRANTED,
        "requested_at": one.requested_at,
        "due_at": one.due_at,
        "patient": patient,
        "kept_until": kept_until(patient.last_contact) if patient and patient.cases else None,
    }


@portal.post("/erasure-requests/<request_id>/grant")
@allowed(Permission.DECIDE_ON_ERASURE)
def grant_erasure(request_id: str) -> AnyResponse:
    """Erase the patient. What was cut off is finished by doing it once more."""
    row = _request(request_id)
    require_step_up(url_for("portal.erasure_desk"))
    if not PortalForm().validate_on_submit():
        abort(400)
    actor = me().actor.user_id
    granted = erasure_requests.grant(db.session(), row.id, by=actor)
    if not granted and row.state != ErasureState.GRANTED:
        db.session.rollback()
        abort(409, DECIDED_ALREADY)
    _audit(AuditAction.ERASURE_GRANTED, row)
    if not erase_now(row.patient_id):
        abort(503, "Nothing is erased yet: the erasure ledger takes no line. Try it again.")
    flash("The patient is erased. The certificate waits at the address that the patient has.")
    return redirect(url_for("portal.erasure_desk"))


@portal.post("/erasure-requests/<request_id>/refuse")
@allowed(Permission.DECIDE_ON_ERASURE)
def refuse_erasure(request_id: str) -> AnyResponse:
    row = _request(request_id)
    form = RefusalForm()
    if not form.validate_on_submit():
        return _page(form, open_form_of=row.id)
    reason = ErasureRefusal(form.reason.data)
    if not erasure_requests.refuse(db.session(), row.id, by=me().actor.user_id, reason=reason):
        db.session.rollback()
        abort(409, DECIDED_ALREADY)
    _audit(AuditAction.ERASURE_REFUSED, row, detail=reason)
    flash("The patient reads the reason on the page of the record.")
    return redirect(url_for("portal.erasure_desk"))


def _request(request_id: str) -> ErasureRequest:
    row = db.session.get(ErasureRequest, request_id)
    if row is None:
        missing("erasure request")
    return row


def _audit(action: AuditAction, row: ErasureRequest, *, detail: str = "") -> None:
    services().auditor.record(
        db.session(),
        action,
        me().actor.user_id,
        clinic_id=row.clinic_id,
        patient_id=row.patient_id,
        detail=detail,
    )
    db.session.commit()
