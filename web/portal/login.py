"""Signing in and out: by password, by passkey, by a demo's link."""

from typing import Any
from urllib.parse import urlsplit

from flask import (
    Response,
    abort,
    flash,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_login import logout_user
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.records import accounts
from clinic.records.models import Account
from web.database import db
from web.guard import audit, me
from web.permission import before_sign_in, roles
from web.portal.account_forms import PasskeyForm
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, SignInForm
from web.portal.new_session import begin_session
from web.portal.passkey_proof import ask_for_passkey, proved_account
from web.rate_limits import SIGN_IN_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, limited
from web.services import services

LINK_SPENT = "This link was used before or is too old. Start the demo again for a new one."
NOT_RIGHT = "Email address or password is not right. Check both."
PASSKEY_NOT_RIGHT = "This passkey did not work. Try again, or use your password."

HOME_OF = {
    Role.PATIENT: "portal.my_cases",
    Role.DERMATOLOGIST: "portal.review_queue",
    Role.ADMINISTRATOR: "portal.operations",
    Role.AUDITOR: "portal.audit_log",
}


def page(template: str, form: PortalForm, **context: Any) -> AnyResponse:
    """A form's page: 422 when it came back with errors."""
    status = 422 if form.errors or any(field.errors for field in form) else 200
    return make_response(render_template(template, form=form, **context), status)


def home_of(role: Role) -> str:
    """The path of the page where somebody of this role begins."""
    return url_for(HOME_OF[role])


def next_path(otherwise: str) -> str:
    """Where to go on: a path of ours, never another site."""
    target = request.values.get("next", "")
    parts = urlsplit(target)
    own = target.startswith("/") and not target.startswith("//") and not parts.netloc
    return target if own and "\\" not in target else otherwise


def address_key() -> str:
    """Whom a rate limit counts by the address in the form: its blind index, not the address."""
    email = request.form.get("email", "")
    return "account:" + services().account_secrets.email_index(email)


@portal.route("/sign-in", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
@limited(SIGN_IN_PER_ACCOUNT, key_func=address_key)
def sign_in() -> AnyResponse:
    form = SignInForm()
    if not form.validate_on_submit():
        return _sign_in_page(form)
    passwords = services().passwords
    account = accounts.account_by_email(db.session(), services().account_secrets, form.email.data)
    stored = account.password_hash if account and account.disabled_at is None else None
    db.session.commit()
    if not passwords.matches(stored, form.password.data) or account is None:
        _audit_refusal(account)
        form.password.errors = [NOT_RIGHT]
        return _sign_in_page(form)
    if passwords.is_outdated(account.password_hash):
        account.password_hash = passwords.hash(form.password.data)
    begin_session(account, second_factor=False)
    return redirect(next_path(home_of(Role(account.role))))


@portal.post("/sign-in/passkey/options")
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def sign_in_passkey_options() -> Response:
    """What the browser's passkeys are asked, before anybody said who they are."""
    return jsonify(ask_for_passkey(None))


@portal.post("/sign-in/passkey")
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def sign_in_passkey() -> AnyResponse:
    """A passkey that verified its person is both factors in one."""
    form = PasskeyForm()
    account = proved_account(form.credential.data) if form.validate_on_submit() else None
    if account is None or account.disabled_at is not None:
        _audit_refusal(account)
        flash(PASSKEY_NOT_RIGHT, "error")
        return _sign_in_page(SignInForm(formdata=None), status=422)
    begin_session(account, second_factor=True)
    return redirect(next_path(home_of(Role(account.role))))


def _sign_in_page(form: SignInForm, status: int | None = None) -> AnyResponse:
    response = page(
        "sign_in.html",
        form,
        next_url=request.values.get("next", ""),
        passkeys=services().relying_party is not None,
    )
    response.status_code = status or response.status_code
    return response


def _audit_refusal(account: Account | None) -> None:
    services().auditor.record(
        db.session(),
        AuditAction.SIGN_IN_REFUSED,
        account.id if account else "unknown",
        clinic_id=account.clinic_id if account else None,
        allowed=False,
    )
    db.session.commit()


@portal.post("/sign-out")
@roles(*Role)
def sign_out() -> AnyResponse:
    accounts.end_login(db.session(), db.session.merge(me().login))
    audit(AuditAction.SIGNED_OUT)
    db.session.commit()
    logout_user()
    session.clear()
    flash("You are signed out.")
    response = redirect(url_for("portal.home"))
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@portal.route("/sign-in-link/<token>", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def sign_in_link(token: str) -> AnyResponse:
    """A one-time link of a demo installation. Opening it does nothing; the button signs in."""
    if not services().is_demo:
        abort(404)
    form = PortalForm()
    link = accounts.find_sign_in_link(db.session(), token)
    if link is None:
        abort(404, LINK_SPENT)
    if not form.validate_on_submit():
        role = db.session.get_one(Account, link.account_id).role
        shown = {"token": token, "role": role, "expires_at": link.expires_at}
        return page("sign_in_link.html", form, **shown)
    account = accounts.use_sign_in_link(db.session(), token)
    if account is None:
        abort(404, LINK_SPENT)
    begin_session(account, second_factor=True)
    return redirect(home_of(Role(account.role)))
