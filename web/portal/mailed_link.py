"""Links that are mailed: asking for one, and following it. What it opens is each page's own."""

from flask import abort, render_template

from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.records import notices, one_time_links
from clinic.records.models import Account, OneTimeLink
from web.database import db
from web.services import services

LINK_SPENT = "This link was used before or is too old. Ask for a new one."


def mail_link(email: str, kind: NoticeKind, action: AuditAction, *, words: str) -> str:
    """Have a link mailed; the page that says so is the same for known and unknown addresses.

    Nothing is looked up: who has an account is found out only while the mail is sent.
    """
    notices.write_to(db.session(), services().account_secrets, email, kind)
    services().auditor.record(db.session(), action, "unknown")
    db.session.commit()
    return render_template("check_mail.html", words=words)


def followed(purpose: LinkPurpose, token: str) -> tuple[OneTimeLink, Account]:
    """The link and the account that it is for; 404 where it can be used no more."""
    link = one_time_links.find(db.session(), purpose, token)
    account = db.session.get(Account, link.account_id) if link else None
    if link is None or account is None or account.disabled_at is not None:
        abort(404, LINK_SPENT)
    return link, account
