"""The clinic's people, for its administrators. Nobody can choose a password for somebody else."""

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission, Role
from clinic.audit_event import AuditAction
from clinic.records import accounts, invitations, people, recovery_codes
from clinic.records.models import Account
from clinic.records.people import CannotChangeError
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.account_forms import ROLE_NAMES, ChangeRoleForm, EmailForm, InviteForm
from web.portal.blueprint import portal
from web.portal.forms import PortalForm
from web.portal.login import page
from web.services import services
from web.step_up import needs_step_up

NOT_ONESELF = "You cannot do this to your own account. Ask another administrator."


@portal.get("/people")
@allowed(Permission.MANAGE_PEOPLE)
def people_page() -> AnyResponse:
    return _people_page(InviteForm(formdata=None))


def _people_page(form: InviteForm, find_form: EmailForm | None = None) -> AnyResponse:
    clinic_id = me().actor.clinic_id
    staff = people.staff_of(db.session(), clinic_id)
    audit(AuditAction.PEOPLE_LISTED, detail=f"{len(staff)} people")
    db.session.commit()
    return page(
        "people.html",
        find_form if find_form is not None and find_form.errors else form,
        people=[_row(one) for one in staff],
        invitations=[
            {"id": one.id, "role": ROLE_NAMES[Role(one.role)], "expires_at": one.expires_at}
            for one in invitations.open_of_clinic(db.session(), clinic_id)
        ],
        invite_form=form,
        find_form=find_form if find_form is not None else EmailForm(formdata=None),
    )


def _row(account: Account) -> dict[str, object]:
    name = f"{account.given_name} {account.family_name}" if account.family_name else ""
    return {
        "id": account.id,
        "name": name or ROLE_NAMES[Role(account.role)],
        "role": ROLE_NAMES[Role(account.role)],
        "registration_number": account.registration_number,
        "disabled": account.disabled_at is not None,
        "second_factor": accounts.has_second_factor(db.session(), account),
        "me": account.id == me().actor.user_id,
    }


@portal.post("/people/invite")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.people_page")
def invite() -> AnyResponse | str:
    """The link is shown once; whoever is given it chooses name, address and password."""
    form = InviteForm()
    if not form.validate_on_submit():
        return _people_page(form)
    role = Role(form.role.data)
    token = invitations.invite(db.session(), clinic_id=me().actor.clinic_id, role=role)
    audit(AuditAction.PERSON_INVITED, detail=role)
    db.session.commit()
    link = f"{services().public_url}{url_for('portal.join', token=token)}"
    return render_template("invitation.html", link=link, role=ROLE_NAMES[role])


@portal.post("/people/invitations/<invitation_id>/withdraw")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.people_page")
def withdraw_invitation(invitation_id: str) -> AnyResponse:
    clinic_id = me().actor.clinic_id
    gone = PortalForm().validate_on_submit() and invitations.withdraw(
        db.session(), clinic_id=clinic_id, invitation_id=invitation_id
    )
    if not gone:
        abort(404)
    audit(AuditAction.INVITATION_WITHDRAWN)
    db.session.commit()
    flash("The invitation is withdrawn.")
    return redirect(url_for("portal.people_page"))


@portal.post("/people/find")
@allowed(Permission.MANAGE_PEOPLE)
def find_person() -> AnyResponse:
    """Somebody of the clinic by their whole address, a patient for instance who lost their phone.

    By POST, so that the address stands in no log.
    """
    form = EmailForm()
    if not form.validate_on_submit():
        return _people_page(InviteForm(formdata=None), form)
    box = services().account_secrets
    found = accounts.account_by_email(db.session(), box, form.email.data)
    if found is None or found.clinic_id != me().actor.clinic_id:
        form.email.errors = ["Nobody of this clinic has this address. Check it."]
        return _people_page(InviteForm(formdata=None), form)
    return redirect(url_for("portal.person_page", account_id=found.id))


@portal.get("/people/<account_id>")
@allowed(Permission.MANAGE_PEOPLE)
def person_page(account_id: str) -> AnyResponse:
    return _person_page(_person(account_id))


def _person_page(account: Account, form: ChangeRoleForm | None = None) -> AnyResponse:
    audit(AuditAction.PERSON_READ, detail=account.id)
    db.session.commit()
    return page(
        "person.html",
        form or ChangeRoleForm(formdata=None, role=account.role),
        person=_row(account),
        is_patient=account.role == Role.PATIENT,
        sessions=len(accounts.logins_of(db.session(), account.id)),
        codes_left=recovery_codes.left(db.session(), account.id),
    )


def _person(account_id: str) -> Account:
    found = people.find(db.session(), clinic_id=me().actor.clinic_id, account_id=account_id)
    if found is None:
        abort(404)
    return found


def _to_change(account_id: str) -> Account:
    """The person that a form is about: of this clinic, and not oneself."""
    account = _person(account_id)
    if not PortalForm().validate_on_submit():
        abort(400)
    if account.id == me().actor.user_id:
        abort(409, NOT_ONESELF)
    return account


def _done(account: Account, action: AuditAction, words: str, *, detail: str = "") -> AnyResponse:
    audit(action, detail=f"{account.id} {detail}".strip())
    db.session.commit()
    flash(words)
    return redirect(url_for("portal.person_page", account_id=account.id))


@portal.post("/people/<account_id>/disable")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.person_page")
def disable_person(account_id: str) -> AnyResponse:
    account = _to_change(account_id)
    people.disable(db.session(), account)
    return _done(account, AuditAction.ACCOUNT_DISABLED, "This person cannot sign in any more.")


@portal.post("/people/<account_id>/enable")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.person_page")
def enable_person(account_id: str) -> AnyResponse:
    account = _to_change(account_id)
    people.enable(account)
    return _done(account, AuditAction.ACCOUNT_ENABLED, "This person can sign in again.")


@portal.post("/people/<account_id>/role")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.person_page")
def change_role(account_id: str) -> AnyResponse:
    account, form = _to_change(account_id), ChangeRoleForm()
    if not form.validate_on_submit():
        return _person_page(account, form)
    role, number = Role(form.role.data), form.registration_number.data or None
    try:
        people.change_role(db.session(), account, role, registration_number=number)
    except CannotChangeError as error:
        form.registration_number.errors = [str(error)]
        return _person_page(account, form)
    words = "The role is changed, and the person is signed out everywhere."
    return _done(account, AuditAction.ROLE_CHANGED, words, detail=role)


@portal.post("/people/<account_id>/sign-out")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.person_page")
def end_sessions_of_person(account_id: str) -> AnyResponse:
    account = _to_change(account_id)
    ended = accounts.end_logins(db.session(), account.id)
    words = "This person is signed out everywhere."
    return _done(account, AuditAction.SESSIONS_ENDED, words, detail=f"{ended} sessions")


@portal.post("/people/<account_id>/second-factor/reset")
@allowed(Permission.MANAGE_PEOPLE)
@needs_step_up(back="portal.person_page")
def reset_second_factor_of_person(account_id: str) -> AnyResponse:
    account = _to_change(account_id)
    people.reset_second_factor(db.session(), account)
    words = "The second step is taken away. Be sure that it was this person who asked."
    return _done(account, AuditAction.SECOND_FACTOR_RESET, words)
