"""Passwords of people: changing one's own, and choosing a new one by a mailed link."""

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.passwords import password_problem
from clinic.records import accounts, notices, one_time_links
from clinic.records.models import Account, Clinic, OneTimeLink
from web.database import db
from web.guard import audit, me
from web.permission import before_sign_in, roles
from web.portal.account_forms import ChangePasswordForm, EmailForm, NewPasswordForm
from web.portal.blueprint import portal
from web.portal.login import address_key, page
from web.portal.mailed_link import LINK_SPENT, followed, mail_link
from web.portal.second_factor import own_account
from web.rate_limits import (
    MAILS_PER_ACCOUNT,
    PROOFS_PER_ACCOUNT,
    SIGN_IN_PER_ADDRESS,
    by_person,
    limited,
)
from web.services import services
from web.step_up import require_step_up

RESET_MAILED = (
    "If you have an account with this address, we send you a link. With it you choose a new "
    "password. It works once, for 30 minutes."
)


@portal.route("/account/password", methods=["GET", "POST"])
@roles(*Role)
@limited(PROOFS_PER_ACCOUNT, key_func=by_person)
def change_password() -> AnyResponse:
    """The old password is asked for; with a second factor, a fresh proof of that too."""
    account = own_account()
    if accounts.has_second_factor(db.session(), account):
        require_step_up(url_for("portal.change_password"))
    form = ChangePasswordForm()
    if not form.validate_on_submit():
        return page("change_password.html", form)
    if not services().passwords.matches(account.password_hash, form.old.data):
        form.old.errors = ["This is not your password until now. Check it."]
        return page("change_password.html", form)
    problem = password_problem(form.password.data, words_about(account))
    if problem is not None:
        form.password.errors = [problem]
        return page("change_password.html", form)
    set_password(account, form.password.data, but=me().login.id)
    audit(AuditAction.PASSWORD_CHANGED)
    db.session.commit()
    flash("Your password is changed. All other browsers are signed out.")
    return redirect(url_for("portal.account"))


@portal.route("/password/forgotten", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
@limited(MAILS_PER_ACCOUNT, key_func=address_key)
def forgotten_password() -> AnyResponse | str:
    form = EmailForm()
    if not services().sends_mail or not form.validate_on_submit():
        return page("forgotten_password.html", form, by_mail=services().sends_mail)
    kind, action = NoticeKind.PASSWORD_RESET, AuditAction.PASSWORD_RESET_ASKED
    return mail_link(form.email.data, kind, action, words=RESET_MAILED)


@portal.route("/password/new/<token>", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def reset_password(token: str) -> AnyResponse:
    """The link replaces the password alone: it signs nobody in, and a second factor stays."""
    link, account = followed(LinkPurpose.PASSWORD_RESET, token)
    form = NewPasswordForm()
    if not form.validate_on_submit():
        return page("reset_password.html", form, token=token)
    problem = password_problem(form.password.data, words_about(account))
    if problem is not None:
        form.password.errors = [problem]
        return page("reset_password.html", form, token=token)
    _reset(account, link, form.password.data)
    flash("Your new password is set. Sign in with it.")
    return redirect(url_for("portal.sign_in"))


def _reset(account: Account, link: OneTimeLink, password: str) -> None:
    if not one_time_links.spend(db.session(), link):
        db.session.rollback()
        abort(404, LINK_SPENT)
    set_password(account, password)
    services().auditor.record(
        db.session(), AuditAction.PASSWORD_RESET, account.id, clinic_id=account.clinic_id
    )
    db.session.commit()


def set_password(account: Account, password: str, *, but: str | None = None) -> None:
    """Every session ends but `but`, links that wait are worth nothing, and the person is told."""
    account.password_hash = services().passwords.hash(password)
    accounts.end_logins(db.session(), account.id, but=but)
    one_time_links.drop_all(db.session(), account.id)
    notices.tell(db.session(), account, NoticeKind.PASSWORD_CHANGED)


def words_about(account: Account) -> list[str]:
    """What others may know of somebody, and what a password must not be made of.

    A patient's name is sealed under a key that the keeper holds; their address is here.
    """
    clinic = db.session.get_one(Clinic, account.clinic_id)
    email = accounts.email_of(services().account_secrets, account)
    return [email, clinic.name, account.given_name or "", account.family_name or ""]
