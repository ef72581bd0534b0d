"""Patients confirm their password before their whole record leaves, or goes."""

from flask import abort, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import PasswordField
from wtforms.validators import InputRequired, Length

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.records.db import database_now
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.forms import PortalForm
from web.portal.login import page, stepped_up
from web.rate_limits import SIGN_IN_PER_ADDRESS, limiter
from web.services import services

PURPOSES = {
    "download": ("download your record", "portal.download_record"),
    "erasure": ("ask us to erase your record", "portal.erasure"),
}


class PasswordAgainForm(PortalForm):
    password = PasswordField(
        "Password",
        [
            InputRequired("Enter your password."),
            Length(max=128, message="This password is too long."),
        ],
        render_kw={"autocomplete": "current-password"},
    )


def confirm_first(purpose: str) -> AnyResponse | None:
    """Where to confirm the password, or None if that was done lately."""
    return None if stepped_up() else redirect(url_for("portal.confirm_own", purpose=purpose))


@portal.route("/my-record/confirm/<purpose>", methods=["GET", "POST"])
@allowed(Permission.KEEP_OWN_RECORD)
@limiter.limit(SIGN_IN_PER_ADDRESS, methods=["POST"])
def confirm_own(purpose: str) -> AnyResponse:
    if purpose not in PURPOSES:
        abort(404)
    words, target = PURPOSES[purpose]
    form = PasswordAgainForm()
    shown = {"purpose": purpose, "words": words}
    if not form.validate_on_submit():
        return page("confirm_own.html", form, **shown)
    account = me().login.account
    if not services().passwords.matches(account.password_hash, form.password.data):
        audit(AuditAction.STEPPED_UP, detail="wrong password", allowed=False)
        db.session.commit()
        form.password.errors = ["This password is not right. Check it."]
        return page("confirm_own.html", form, **shown)
    db.session.merge(me().login).stepped_up_at = database_now(db.session())
    audit(AuditAction.STEPPED_UP)
    db.session.commit()
    return redirect(url_for(target))
