"""Another e-mail address: it counts once its owner opened the link that was mailed to it."""

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.records import accounts, notices, one_time_links
from clinic.records.accounts import EmailTakenError
from clinic.records.models import Account, OneTimeLink
from web.database import db
from web.guard import audit
from web.permission import before_sign_in, roles
from web.portal.account_forms import NewEmailForm
from web.portal.blueprint import portal
from web.portal.forms import PortalForm
from web.portal.login import page
from web.portal.mailed_link import LINK_SPENT, followed
from web.portal.second_factor import own_account
from web.rate_limits import MAILS_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, by_person, limited
from web.services import services
from web.step_up import needs_step_up

CONFIRM_MAILED = (
    "We send a link to your new address. Open it to use the new address. Until then you sign in "
    "with the old one."
)


@portal.route("/account/email", methods=["GET", "POST"])
@roles(*Role)
@limited(MAILS_PER_ACCOUNT, key_func=by_person)
@needs_step_up()
def change_email() -> AnyResponse | str:
    """Whether another account has the address is found out only while the mail is sent."""
    account, form = own_account(), NewEmailForm()
    if not services().sends_mail or not form.validate_on_submit():
        return page("change_email.html", form, by_mail=services().sends_mail)
    box = services().account_secrets
    notices.write_to(db.session(), box, form.email.data, NoticeKind.EMAIL_CHANGE, account=account)
    audit(AuditAction.EMAIL_CHANGE_ASKED)
    db.session.commit()
    return render_template("check_mail.html", words=CONFIRM_MAILED)


@portal.route("/account/email/<token>", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def confirm_email(token: str) -> AnyResponse:
    """Opening the link does nothing, so that a mail program may look at it; the button does."""
    link, account = followed(LinkPurpose.EMAIL_CHANGE, token)
    form = PortalForm()
    if not form.validate_on_submit():
        return page("confirm_email.html", form, token=token)
    _move(account, link)
    flash("Your new email address counts from now on.")
    return redirect(url_for("portal.home"))


def _move(account: Account, link: OneTimeLink) -> None:
    box = services().account_secrets
    old = accounts.email_of(box, account)
    try:
        spent = one_time_links.spend(db.session(), link)
        accounts.set_email(db.session(), box, account, one_time_links.email_of(box, link))
    except EmailTakenError:
        spent = False
    if not spent:
        db.session.rollback()
        abort(404, LINK_SPENT)
    notices.write_to(db.session(), box, old, NoticeKind.EMAIL_CHANGED, account=account)
    services().auditor.record(
        db.session(), AuditAction.EMAIL_CHANGED, account.id, clinic_id=account.clinic_id
    )
    db.session.commit()
