"""Joining the staff with an invitation: name, address, password, then a second factor."""

from flask import abort, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.passwords import password_problem
from clinic.records import accounts, invitations
from clinic.records.accounts import EmailTakenError, NewAccount
from clinic.records.models import Account, Clinic, Invitation
from web.database import db
from web.permission import before_sign_in
from web.portal.account_forms import ROLE_NAMES, JoinForm
from web.portal.blueprint import portal
from web.portal.login import page
from web.portal.new_session import begin_session
from web.rate_limits import SIGN_IN_PER_ADDRESS, limited
from web.services import services

LINK_SPENT = "This invitation was used before or is too old. Ask for a new one."


@portal.route("/join/<token>", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def join(token: str) -> AnyResponse:
    invitation = invitations.find(db.session(), token)
    if invitation is None:
        abort(404, LINK_SPENT)
    form = JoinForm()
    if invitation.role != Role.DERMATOLOGIST:
        del form.registration_number
    if not form.validate_on_submit() or not _is_good(form, invitation):
        return _page(form, invitation, token)
    try:
        account = _create(form, invitation)
    except EmailTakenError:
        db.session.rollback()
        form.email.errors = ["This address has an account already. Use another one."]
        return _page(form, invitation, token)
    begin_session(account, second_factor=False, first=True)
    return redirect(url_for("portal.new_code_app"))


def _page(form: JoinForm, invitation: Invitation, token: str) -> AnyResponse:
    clinic = db.session.get_one(Clinic, invitation.clinic_id)
    role = ROLE_NAMES[Role(invitation.role)]
    return page("join.html", form, token=token, role=role, clinic_name=clinic.name)


def _is_good(form: JoinForm, invitation: Invitation) -> bool:
    """What no single field can judge; what is wrong stands in the form."""
    if "registration_number" in form and not form.registration_number.data:
        form.registration_number.errors = ["Enter your registration number."]
        return False
    clinic = db.session.get_one(Clinic, invitation.clinic_id)
    about = [form.given_name.data, form.family_name.data, form.email.data, clinic.name]
    problem = password_problem(form.password.data, about)
    if problem is not None:
        form.password.errors = [problem]
    return problem is None


def _create(form: JoinForm, invitation: Invitation) -> Account:
    number = form.registration_number.data if "registration_number" in form else None
    new = NewAccount(
        invitation.clinic_id,
        Role(invitation.role),
        form.email.data,
        services().passwords.hash(form.password.data),
        form.family_name.data,
        form.given_name.data,
        number,
    )
    account = accounts.create_account(db.session(), services().account_secrets, new)
    if not invitations.spend(db.session(), invitation):
        db.session.rollback()
        abort(404, LINK_SPENT)
    services().auditor.record(
        db.session(),
        AuditAction.ACCOUNT_CREATED,
        account.id,
        clinic_id=account.clinic_id,
        detail=account.role,
    )
    return account
