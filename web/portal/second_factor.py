"""The second factor's pages: prove one, prove again (step-up), set one up, recovery codes."""

import re
from typing import Any

import pyotp
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
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.records import accounts, notices, passkeys, recovery_codes
from clinic.records.db import database_now
from clinic.records.models import Account, Passkey
from clinic.records.passkeys import MOST_PASSKEYS, NewPasskey, PasskeyTakenError
from web.database import db
from web.guard import audit, deny, me
from web.permission import roles
from web.portal.account_forms import (
    NewPasskeyForm,
    OwnPasswordForm,
    PasskeyForm,
    PasskeyNameForm,
    RecoveryCodeForm,
)
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, SecondFactorForm
from web.portal.login import home_of, next_path, page
from web.portal.passkey_proof import ask_for_new_passkey, ask_for_passkey, new_credential, proves
from web.qr_code import qr_svg
from web.rate_limits import PROOFS_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, by_person, limited
from web.second_factor import code_is_right, spend_code
from web.services import services
from web.step_up import needs_step_up, require_step_up

ISSUER = "DermQueue"
WRONG_CODE = "This code is not right or was used before. Wait for the next one."
WRONG_PASSKEY = "This passkey did not work. Try again, or use another way."
WRONG_RECOVERY_CODE = "This recovery code is not right or was used before. Take another one."
LAST_FACTOR = "Your work needs a second step. Add another one before you remove this one."
_NEW_SECRET = "new_totp_secret"  # noqa: S105 - where the secret lies in the signed cookie


def own_account() -> Account:
    """The signed-in person's account, as this request may change it."""
    return db.session.merge(me().login.account)


# --- Proving --------------------------------------------------------------------------------------


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
    mark_proved(AuditAction.STEPPED_UP)
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
    actor = me().actor
    services().auditor.record(
        db.session(),
        AuditAction.PROOF_REFUSED,
        actor.user_id,
        clinic_id=actor.clinic_id,
        patient_id=actor.patient_id,
        allowed=False,
    )
    db.session.commit()
    return False


def mark_proved(action: AuditAction, *, detail: str = "") -> None:
    """Note that this browser's session has proved its second factor now."""
    login = db.session.merge(me().login)
    login.second_factor_at = login.stepped_up_at = database_now(db.session())
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


# --- Setting up -----------------------------------------------------------------------------------


def _may_set_up(account: Account, back: str) -> AnyResponse | None:
    """Who may set up a factor: with one already, only after a fresh proof of it.

    Staff without any come here straight from their password; nothing else is open to them.
    """
    if accounts.has_second_factor(db.session(), account) and not me().second_factor_done:
        return redirect(url_for("portal.second_factor"))
    if me().second_factor_done:
        require_step_up(back)
    return None


@portal.route("/second-factor/new", methods=["GET", "POST"])
@roles(*Role)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def new_code_app() -> AnyResponse:
    """Set up a code app, or another one in place of the one there is."""
    account = own_account()
    elsewhere = _may_set_up(account, url_for("portal.new_code_app"))
    if elsewhere is not None:
        return elsewhere
    secret = session.setdefault(_NEW_SECRET, pyotp.random_base32())
    form = SecondFactorForm()
    if not form.validate_on_submit():
        return _code_app_page(form, account, secret)
    if not spend_code(db.session(), account, secret, form.code.data):
        db.session.commit()
        form.code.errors = ["This code is not right. Wait for the next one and try again."]
        return _code_app_page(form, account, secret)
    account.totp_secret_sealed = services().account_secrets.seal(
        secret, account_id=account.id, column="totp_secret"
    )
    session.pop(_NEW_SECRET)
    return _factor_added(account, "code app")


def _code_app_page(form: SecondFactorForm, account: Account, secret: str) -> AnyResponse:
    email = accounts.email_of(services().account_secrets, account)
    address = pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)
    return page(
        "new_code_app.html",
        form,
        secret=" ".join(re.findall("....", secret)),
        otpauth_uri=address,
        qr_svg=qr_svg(address),
        passkeys=services().relying_party is not None,
    )


@portal.route("/passkeys/new", methods=["GET", "POST"])
@roles(*Role)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def new_passkey() -> AnyResponse:
    account = own_account()
    elsewhere = _may_set_up(account, url_for("portal.new_passkey"))
    if elsewhere is not None:
        return elsewhere
    form = NewPasskeyForm()
    if not form.validate_on_submit():
        return page("new_passkey.html", form)
    made = new_credential(account, form.credential.data)
    if made is None:
        form.form_errors.append("Your browser made no passkey that we can use. Try again.")
        return page("new_passkey.html", form)
    sealed = _sealed_name(account, form.name.data)
    new = NewPasskey(made.credential_id, made.public_key, made.sign_count, sealed)
    try:
        passkeys.add(db.session(), account, new)
    except PasskeyTakenError:
        db.session.rollback()
        form.form_errors.append("This passkey is registered already. Use another device.")
        return page("new_passkey.html", form)
    return _factor_added(account, "passkey")


@portal.post("/passkeys/options/new")
@roles(*Role)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def passkey_creation_options() -> AnyResponse:
    account = own_account()
    elsewhere = _may_set_up(account, url_for("portal.new_passkey"))
    if elsewhere is not None:
        return elsewhere
    if passkeys.count(db.session(), account.id) >= MOST_PASSKEYS:
        abort(409, f"You have {MOST_PASSKEYS} passkeys. Remove one first.")
    email = accounts.email_of(services().account_secrets, account)
    return jsonify(ask_for_new_passkey(account, email))


def _factor_added(account: Account, what: str) -> AnyResponse:
    """The first factor comes with recovery codes, which are shown now and never again."""
    notices.tell(db.session(), account, NoticeKind.FACTOR_ADDED)
    codes = (
        recovery_codes.renew(db.session(), account.id)
        if recovery_codes.left(db.session(), account.id) == 0
        else []
    )
    mark_proved(AuditAction.SECOND_FACTOR_ENROLLED, detail=what)
    if codes:
        return _show_once(codes)
    flash(f"Your {what} is ready.")
    return redirect(url_for("portal.account"))


def _show_once(codes: list[str]) -> AnyResponse:
    home = home_of(me().role)
    return make_response(render_template("recovery_codes.html", codes=codes, home_url=home))


# --- Keeping --------------------------------------------------------------------------------------


@portal.post("/recovery-codes")
@roles(*Role)
@needs_step_up(back="portal.account")
def renew_recovery_codes() -> AnyResponse:
    account = own_account()
    if not PortalForm().validate_on_submit():
        abort(400)
    if not accounts.has_second_factor(db.session(), account):
        abort(409, "Set up a second step first. Recovery codes stand in for it.")
    codes = recovery_codes.renew(db.session(), account.id)
    audit(AuditAction.RECOVERY_CODES_MADE)
    db.session.commit()
    return _show_once(codes)


@portal.post("/second-factor/remove")
@roles(*Role)
@needs_step_up(back="portal.account")
def remove_code_app() -> AnyResponse:
    account = own_account()
    if not PortalForm().validate_on_submit() or account.totp_secret_sealed is None:
        abort(404)
    _keep_one(account, others=passkeys.count(db.session(), account.id))
    account.totp_secret_sealed = None
    return _factor_removed(account, "code app")


@portal.post("/passkeys/<passkey_id>/remove")
@roles(*Role)
@needs_step_up(back="portal.account")
def remove_passkey(passkey_id: str) -> AnyResponse:
    account = own_account()
    passkey = _own_passkey(account, passkey_id)
    others = passkeys.count(db.session(), account.id) - 1
    _keep_one(account, others=others + (account.totp_secret_sealed is not None))
    db.session.delete(passkey)
    return _factor_removed(account, "passkey")


@portal.post("/passkeys/<passkey_id>/name")
@roles(*Role)
def rename_passkey(passkey_id: str) -> AnyResponse:
    account, form = own_account(), PasskeyNameForm()
    passkey = _own_passkey(account, passkey_id)
    if not form.validate_on_submit():
        abort(422, "Give the passkey a name of 1 to 40 characters.")
    passkey.name_sealed = _sealed_name(account, form.name.data)
    db.session.commit()
    flash("The name is saved.")
    return redirect(url_for("portal.account"))


def _own_passkey(account: Account, passkey_id: str) -> Passkey:
    found = db.session.get(Passkey, passkey_id)
    if found is None:
        abort(404)
    if found.account_id != account.id:
        deny(detail="another's passkey")
    return found


def _keep_one(account: Account, *, others: int) -> None:
    if account.role in STAFF and others == 0:
        abort(409, LAST_FACTOR)


def _factor_removed(account: Account, what: str) -> AnyResponse:
    db.session.flush()
    if not accounts.has_second_factor(db.session(), account):
        recovery_codes.remove(db.session(), account.id)
    notices.tell(db.session(), account, NoticeKind.FACTOR_REMOVED)
    audit(AuditAction.SECOND_FACTOR_REMOVED, detail=what)
    db.session.commit()
    flash(f"Your {what} is removed.")
    return redirect(url_for("portal.account"))


def _sealed_name(account: Account, name: str) -> bytes:
    return services().account_secrets.seal(name, account_id=account.id, column="passkey name")
