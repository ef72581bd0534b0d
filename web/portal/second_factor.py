"""Proving the second factor: after the password, and again before something important."""

from typing import Any

from flask import Response, flash, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.records import accounts, notices, passkeys, recovery_codes
from clinic.records.db import database_now
from clinic.records.models import Account
from web.database import db
from web.guard import audit, me
from web.permission import roles
from web.portal.account_forms import OwnPasswordForm, PasskeyForm, RecoveryCodeForm
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, SecondFactorForm
from web.portal.login import home_of, next_path, page
from web.portal.passkey_proof import ask_for_passkey, proves
from web.rate_limits import PROOFS_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, by_person, limited
from web.second_factor import code_is_right
from web.services import services

WRONG_CODE = "This code is not right or was used before. Wait for the next one."
WRONG_PASSKEY = "This passkey did not work. Try again, or use another way."
WRONG_RECOVERY_CODE = "This recovery code is not right or was used before. Take another one."


def own_account() -> Account:
    """The signed-in person's account, as this request may change it."""
    return db.session.merge(me().login.account)


@portal.route("/second-factor", methods=["GET", "POST"])
@roles(*Role)
@limited(SIGN_IN_PER_ADDRESS)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def second_factor() -> AnyResponse:
    account = own_account()
    if not accounts.has_second_factor(db.session(), account):
        missing = account.role in STAFF
        return redirect(url_for("portal.new_code_app") if missing else home_of(me().role))
    form = SecondFactorForm()
    if not _proved(account, form):
        return _proof_page("second_factor.html", account, form)
    mark_proved(AuditAction.STEPPED_UP)
    return redirect(home_of(me().role))


@portal.route("/step-up", methods=["GET", "POST"])
@roles(*Role)
@limited(SIGN_IN_PER_ADDRESS)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def step_up() -> AnyResponse:
    """A fresh proof: of the second factor, or of the password where there is none."""
    account = own_account()
    with_factor = accounts.has_second_factor(db.session(), account)
    form = SecondFactorForm() if with_factor else OwnPasswordForm()
    if not _proved(account, form):
        return _proof_page("step_up.html", account, form, next_url=request.values.get("next", ""))
    mark_proved(AuditAction.STEPPED_UP, factor=with_factor)
    return redirect(next_path(home_of(me().role)))


def _proof_page(template: str, account: Account, form: PortalForm, **context: Any) -> AnyResponse:
    return page(
        template,
        form,
        with_app=account.totp_secret_sealed is not None,
        with_passkey=passkeys.count(db.session(), account.id) > 0,
        **context,
    )


def _proved(account: Account, form: PortalForm) -> bool:
    """Whether the form that was sent proves the account; what is wrong stands in it otherwise."""
    if "credential" in request.form:
        return _proved_by_passkey(account, form)
    if not form.validate_on_submit():
        return False
    if isinstance(form, OwnPasswordForm):
        right = services().passwords.matches(account.password_hash, form.password.data)
        return right or _refuse(form.password, "This password is not right. Check it.")
    right = code_is_right(db.session(), services().account_secrets, account, form.code.data)
    db.session.commit()
    return right or _refuse(form.code, WRONG_CODE)


def _proved_by_passkey(account: Account, form: PortalForm) -> bool:
    sent = PasskeyForm()
    if sent.validate_on_submit() and proves(account, sent.credential.data):
        return True
    form.form_errors.append(WRONG_PASSKEY)
    return _refuse(None, WRONG_PASSKEY)


def _refuse(field: Any, words: str) -> bool:
    """Audit a proof that failed; a proof is never taken back, so this is always False."""
    if field is not None:
        field.errors = [words]
    audit(AuditAction.PROOF_REFUSED, allowed=False)
    db.session.commit()
    return False


def mark_proved(action: AuditAction, *, factor: bool = True, detail: str = "") -> None:
    """Note a fresh proof in this browser's session: of the second factor, or of the password."""
    login = db.session.merge(me().login)
    login.stepped_up_at = database_now(db.session())
    if factor:
        login.second_factor_at = login.stepped_up_at
    audit(action, detail=detail)
    db.session.commit()


@portal.post("/passkeys/options/use")
@roles(*Role)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def passkey_use_options() -> Response:
    return jsonify(ask_for_passkey(own_account()))


@portal.route("/second-factor/recovery", methods=["GET", "POST"])
@roles(*Role)
@limited(SIGN_IN_PER_ADDRESS)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def use_recovery_code() -> AnyResponse:
    account, form = own_account(), RecoveryCodeForm()
    if not form.validate_on_submit():
        return page("recovery_code.html", form)
    if not recovery_codes.spend(db.session(), account.id, form.code.data):
        _refuse(form.code, WRONG_RECOVERY_CODE)
        return page("recovery_code.html", form)
    left = recovery_codes.left(db.session(), account.id)
    notices.tell(db.session(), account, NoticeKind.RECOVERY_CODE_USED)
    mark_proved(AuditAction.RECOVERY_CODE_USED, detail=f"{left} left")
    flash(f"That code is used up. You have {left} left. You can make new ones here.")
    return redirect(url_for("portal.account"))
