"""A person's own account: how they sign in, open sessions, and for patients their consents."""

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.records import accounts, passkeys, recovery_codes
from clinic.records.models import Account, LoginSession, Passkey
from web.database import db
from web.guard import audit, me, missing
from web.permission import roles
from web.portal.blueprint import portal
from web.portal.forms import PortalForm
from web.portal.my_consents import consents_context
from web.portal.my_language import language_form
from web.services import services


@portal.get("/account")
@roles(*Role)
def account() -> str:
    own = me().login
    patient_id = me().actor.patient_id
    consents = consents_context(patient_id) if patient_id else None
    audit(AuditAction.ACCOUNT_READ)
    db.session.commit()
    return render_template(
        "account.html",
        sessions=[_session(one, own) for one in accounts.logins_of(db.session(), own.account_id)],
        consents=consents,
        signing_in=_signing_in(own.account),
        language_form=language_form(patient_id) if patient_id else None,
    )


def _session(login: LoginSession, own: LoginSession) -> dict[str, object]:
    return {
        "id": login.id,
        "current": login.id == own.id,
        "started_at": login.created_at,
        "last_seen_at": login.last_seen_at,
        "device": login.device,
    }


def _signing_in(account: Account) -> dict[str, object]:
    """How this person proves who they are, without a secret."""
    return {
        "email": accounts.email_of(services().account_secrets, account),
        "code_app": account.totp_secret_sealed is not None,
        "passkeys": [_passkey(one) for one in passkeys.of_account(db.session(), account.id)],
        "passkeys_possible": services().relying_party is not None,
        "codes_left": recovery_codes.left(db.session(), account.id),
        "factor_required": account.role in STAFF,
    }


def _passkey(row: Passkey) -> dict[str, object]:
    box = services().account_secrets
    name = box.unseal(row.name_sealed, account_id=row.account_id, column="passkey name")
    return {
        "id": row.id,
        "name": name,
        "made_at": row.created_at,
        "used_at": row.last_used_at,
    }


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


@portal.post("/account/sessions/end-others")
@roles(*Role)
def end_other_sessions() -> AnyResponse:
    """Sign out every browser of one's own but this one."""
    if not PortalForm().validate_on_submit():
        abort(400)
    own = me().login
    ended = accounts.end_logins(db.session(), own.account_id, but=own.id)
    audit(AuditAction.SIGNED_OUT, detail=f"{ended} other browsers")
    db.session.commit()
    flash("You are signed out everywhere else.")
    return redirect(url_for("portal.account"))
