"""Setting second factors up, naming and removing them, and their recovery codes."""

import re

import pyotp
from flask import abort, flash, jsonify, make_response, redirect, render_template, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.records import accounts, notices, passkeys, recovery_codes
from clinic.records.models import Account, Passkey
from clinic.records.passkeys import MOST_PASSKEYS, NewPasskey, PasskeyTakenError
from web.database import db
from web.guard import audit, deny, me
from web.permission import roles
from web.portal.account_forms import ROLE_NAMES, NewPasskeyForm, PasskeyNameForm
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, SecondFactorForm
from web.portal.login import home_of, page
from web.portal.passkey_proof import ask_for_new_passkey, new_credential
from web.portal.second_factor import mark_proved, own_account
from web.qr_code import qr_svg
from web.rate_limits import PROOFS_PER_ACCOUNT, by_person, limited
from web.second_factor import spend_code
from web.services import services
from web.step_up import needs_step_up, require_step_up

ISSUER = "DermQueue"
LAST_FACTOR = "Your work needs a second step. Add another one before you remove this one."
_NEW_SECRET = "new_totp_secret"  # noqa: S105 - where the secret lies in the signed cookie


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
    first = not accounts.has_second_factor(db.session(), account)
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
    return _factor_added(account, "code app", first=first)


def _code_app_page(form: SecondFactorForm, account: Account, secret: str) -> AnyResponse:
    # An app lists it by the role: an address on a page holds nothing of a person.
    label = ROLE_NAMES[Role(account.role)]
    address = pyotp.TOTP(secret).provisioning_uri(name=label, issuer_name=ISSUER)
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
    first, form = not accounts.has_second_factor(db.session(), account), NewPasskeyForm()
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
    return _factor_added(account, "passkey", first=first)


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


def _factor_added(account: Account, what: str, *, first: bool) -> AnyResponse:
    """Browsers that never proved a factor are signed out by the first one.

    Recovery codes come with it; they are shown now and never again.
    """
    if first:
        accounts.end_logins(db.session(), account.id, but=me().login.id)
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
    audit(AuditAction.PASSKEY_RENAMED)
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
