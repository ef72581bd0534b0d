"""Signing in and out: password, one-time code for staff, step-up before signing, demo links."""

import re
from typing import Any
from urllib.parse import urlsplit

import pyotp
from flask import abort, flash, make_response, redirect, render_template, request, session, url_for
from flask_login import login_user, logout_user
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.records import accounts
from clinic.records.db import database_now
from clinic.records.models import Account
from web.database import db
from web.guard import SignedIn, audit, me
from web.permission import before_sign_in, roles
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, SecondFactorForm, SignInForm, StepUpForm
from web.rate_limits import SIGN_IN_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, limiter
from web.second_factor import code_is_right, spend_code
from web.services import services

STEP_UP_LIFE_SECONDS = 15 * 60
ISSUER = "DermQueue"
LINK_SPENT = "This link was used before or is too old. Start the demo again for a new one."

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


def begin_session(account: Account, *, second_factor: bool) -> None:
    """Start a fresh login session and put its token into the cookie."""
    session.clear()
    token = accounts.start_login(db.session(), account, second_factor=second_factor)
    login = accounts.live_login(db.session(), token)
    if login is None:
        raise LookupError("The login session that was just made is gone.")
    actor = accounts.actor_of(db.session(), login)
    services().auditor.record(
        db.session(),
        AuditAction.SIGNED_IN,
        account.id,
        clinic_id=account.clinic_id,
        patient_id=actor.patient_id,
    )
    db.session.commit()
    login_user(SignedIn(token, login, actor))


def _account_key() -> str:
    email = request.form.get("email", "")
    return "account:" + services().account_secrets.email_index(email)


@portal.route("/sign-in", methods=["GET", "POST"])
@before_sign_in
@limiter.limit(SIGN_IN_PER_ADDRESS, methods=["POST"])
@limiter.limit(SIGN_IN_PER_ACCOUNT, methods=["POST"], key_func=_account_key)
def sign_in() -> AnyResponse:
    form = SignInForm()
    if not form.validate_on_submit():
        return page("sign_in.html", form, next_url=request.values.get("next", ""))
    account = accounts.account_by_email(db.session(), services().account_secrets, form.email.data)
    stored = account.password_hash if account and account.disabled_at is None else None
    db.session.commit()
    if not services().passwords.matches(stored, form.password.data) or account is None:
        _audit_refusal(account)
        form.password.errors = ["Email address or password is not right. Check both."]
        return page("sign_in.html", form, next_url=request.values.get("next", ""))
    begin_session(account, second_factor=False)
    return redirect(_next(HOME_OF[Role(account.role)]))


def _audit_refusal(account: Account | None) -> None:
    services().auditor.record(
        db.session(),
        AuditAction.SIGN_IN_REFUSED,
        account.id if account else "unknown",
        clinic_id=account.clinic_id if account else None,
        allowed=False,
    )
    db.session.commit()


def _next(endpoint: str) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    target = request.values.get("next", "")
    parts = urlsplit(target)
    own = target.startswith("/") and not target.startswith("//") and not parts.netloc
    return target if own and "\\" not in target else url_for(endpoint)


@portal.route("/second-factor", methods=["GET", "POST"])
@roles(*STAFF)
@limiter.limit(SIGN_IN_PER_ADDRESS, methods=["POST"])
def second_factor() -> AnyResponse:
    account = me().login.account
    if account.totp_secret_sealed is None:
        return redirect(url_for("portal.enrol_second_factor"))
    form = SecondFactorForm()
    if not form.validate_on_submit():
        return page("second_factor.html", form)
    if not _code_is_right(account, form.code.data):
        form.code.errors = ["This code is not right or was used before. Wait for the next one."]
        return page("second_factor.html", form)
    _mark_second_factor(AuditAction.STEPPED_UP)
    return redirect(url_for(HOME_OF[me().role]))


@portal.route("/second-factor/new", methods=["GET", "POST"])
@roles(*STAFF)
def enrol_second_factor() -> AnyResponse:
    account = me().login.account
    if account.totp_secret_sealed is not None:
        return redirect(url_for("portal.second_factor"))
    secret = session.setdefault("new_totp_secret", pyotp.random_base32())
    form = SecondFactorForm()
    shown = {
        "secret": " ".join(re.findall("....", secret)),
        "otpauth_uri": pyotp.TOTP(secret).provisioning_uri(issuer_name=ISSUER),
        "qr_svg": None,
    }
    if not form.validate_on_submit():
        return page("enrol_second_factor.html", form, **shown)
    accepted = spend_code(db.session(), account, secret, form.code.data)
    db.session.commit()
    if not accepted:
        form.code.errors = ["This code is not right. Wait for the next one and try again."]
        return page("enrol_second_factor.html", form, **shown)
    account.totp_secret_sealed = services().account_secrets.seal(
        secret, account_id=account.id, column="totp_secret"
    )
    session.pop("new_totp_secret")
    _mark_second_factor(AuditAction.SECOND_FACTOR_ENROLLED)
    return redirect(url_for(HOME_OF[me().role]))


@portal.route("/step-up", methods=["GET", "POST"])
@roles(*STAFF)
@limiter.limit(SIGN_IN_PER_ADDRESS, methods=["POST"])
def step_up() -> AnyResponse:
    form = StepUpForm()
    if not form.validate_on_submit():
        return page("step_up.html", form, **_step_up_context())
    if not _code_is_right(me().login.account, form.code.data):
        form.code.errors = ["This code is not right or was used before. Wait for the next one."]
        return page("step_up.html", form, **_step_up_context())
    _mark_second_factor(AuditAction.STEPPED_UP)
    return redirect(_next(HOME_OF[me().role]))


def _step_up_context() -> dict[str, str]:
    return {"purpose": "sign this report", "next_url": request.values.get("next", "")}


def stepped_up() -> bool:
    """Whether this person proved themselves recently enough to sign."""
    at = me().login.stepped_up_at
    now = database_now(db.session())
    return at is not None and (now - at).total_seconds() < STEP_UP_LIFE_SECONDS


def _mark_second_factor(action: AuditAction) -> None:
    login = db.session.merge(me().login)
    login.second_factor_at = login.stepped_up_at = database_now(db.session())
    audit(action)
    db.session.commit()


def _code_is_right(account: Account, code: str) -> bool:
    accepted = code_is_right(db.session(), services().account_secrets, account, code)
    db.session.commit()
    return accepted


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
@limiter.limit(SIGN_IN_PER_ADDRESS, methods=["POST"])
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
    return redirect(url_for(HOME_OF[Role(account.role)]))
