"""A person's own account: open sessions and consents."""

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission, Role
from clinic.audit_event import AuditAction
from clinic.records import accounts, submissions
from clinic.records.models import LoginSession, Patient
from web.database import db
from web.guard import audit, me, missing
from web.permission import allowed, roles
from web.portal.blueprint import portal
from web.portal.forms import ConsentForm, PortalForm


@portal.get("/account")
@roles(*Role)
def account() -> str:
    own = me().login
    sessions = [
        {
            "id": one.id,
            "current": one.id == own.id,
            "started_at": one.created_at,
            "last_seen_at": one.last_seen_at,
            "device": "this browser" if one.id == own.id else "another browser",
        }
        for one in accounts.logins_of(db.session(), own.account_id)
    ]
    patient_id = me().actor.patient_id
    consents = accounts.consents_of(db.session(), patient_id) if patient_id else []
    return render_template(
        "account.html",
        sessions=sessions,
        consents=consents,
        consent_form=_consent_form(patient_id) if patient_id else None,
        second_factor_on=own.account.totp_secret_sealed is not None,
    )


def _consent_form(patient_id: str) -> ConsentForm:
    permitted = accounts.permitted_purposes(db.session(), patient_id)
    return ConsentForm(
        formdata=None,
        consent_ai="ai_assistance" in permitted,
        consent_research="research" in permitted,
        consent_teaching="teaching" in permitted,
    )


@portal.post("/account/consents")
@allowed(Permission.KEEP_OWN_RECORD)
def change_consents() -> AnyResponse:
    form = ConsentForm()
    if not form.validate_on_submit():
        abort(400)
    patient = db.session.get_one(Patient, me().actor.patient_id)
    decisions = {
        "ai_assistance": bool(form.consent_ai.data),
        "research": bool(form.consent_research.data),
        "teaching": bool(form.consent_teaching.data),
    }
    accounts.record_consents(db.session(), patient, decisions)
    if not decisions["ai_assistance"]:
        submissions.stop_ai(db.session(), patient.id)
    audit(AuditAction.CONSENT_RECORDED)
    db.session.commit()
    flash("Your choices are saved.")
    return redirect(url_for("portal.account"))


@portal.post("/account/sessions/<session_id>/end")
@roles(*Role)
def end_session(session_id: str) -> AnyResponse:
    """Sign out another browser of one's own."""
    form = PortalForm()
    login = db.session.get(LoginSession, session_id)
    if not form.validate_on_submit() or login is None:
        missing("session")
    if login.account_id != me().login.account_id:
        missing("session")
    accounts.end_login(db.session(), login)
    audit(AuditAction.SIGNED_OUT, detail="another browser")
    db.session.commit()
    flash("That browser is signed out.")
    return redirect(url_for("portal.account"))
