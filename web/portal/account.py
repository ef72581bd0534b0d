"""A person's own account: open sessions, and for patients their consents."""

from flask import flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.records import accounts
from clinic.records.models import LoginSession
from web.database import db
from web.guard import audit, me, missing
from web.permission import roles
from web.portal.blueprint import portal
from web.portal.forms import PortalForm
from web.portal.my_consents import consents_context


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
    consents = consents_context(patient_id) if patient_id else None
    audit(AuditAction.ACCOUNT_READ)
    db.session.commit()
    return render_template(
        "account.html",
        sessions=sessions,
        consents=consents,
        second_factor_on=own.account.totp_secret_sealed is not None,
    )


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
