"""Patients register themselves; name and birth date are sealed as they arrive.

Where mail is sent, the address comes first and is proved by a link: the page says the same whether
it has an account or not, and the mail tells its owner. Where none is sent, as in a demo, one form
does it all, and whoever sends it learns that an address is taken: docs/adr/0016 says why.
"""

from flask import abort, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.passwords import password_problem
from clinic.records import (
    accounts,
    clinics,
    consents,
    keys,
    one_time_links,
    sealed_objects,
)
from clinic.records.accounts import EmailTakenError, NewAccount
from clinic.records.models import Account, Clinic, Patient
from clinic.records.sealed_objects import Place
from web.database import db
from web.local_clinic import visited_clinic
from web.permission import before_sign_in
from web.portal.account_forms import EmailForm
from web.portal.blueprint import portal
from web.portal.forms import PatientForm, RegisterForm
from web.portal.login import address_key, page
from web.portal.mailed_link import mail_link
from web.portal.new_session import begin_session
from web.portal.texts import Identity, write_identity
from web.rate_limits import MAILS_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, limited
from web.services import services

LINK_SPENT = "This link was used before or is too old. Register once more for a new one."
LINK_MAILED = "We send you a link to go on with. It works once, for 2 hours."


def _sends_no_mail() -> bool:
    return not services().sends_mail


@portal.route("/register", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
@limited(MAILS_PER_ACCOUNT, key_func=address_key, exempt_when=_sends_no_mail)
def register() -> AnyResponse | str:
    if services().sends_mail:
        return _ask_for_address()
    form = RegisterForm()
    clinic = _clinic_of(form, form.email.data)
    if clinic is None:
        return _page(form)
    try:
        account = _create(form, clinic, form.email.data)
    except EmailTakenError:
        db.session.rollback()
        form.email.errors = ["Use another email address, or sign in if you have an account."]
        return _page(form)
    return _welcome(account)


def _ask_for_address() -> AnyResponse | str:
    form = EmailForm()
    if not form.validate_on_submit():
        return page("register_address.html", form)
    kind, action = NoticeKind.REGISTRATION, AuditAction.REGISTRATION_ASKED
    return mail_link(form.email.data, kind, action, words=LINK_MAILED)


@portal.route("/register/<token>", methods=["GET", "POST"])
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def register_proved(token: str) -> AnyResponse:
    """The rest of the registration, for whoever opened the link in their mail."""
    link = one_time_links.find(db.session(), LinkPurpose.REGISTRATION, token)
    if link is None:
        abort(404, LINK_SPENT)
    email, form = one_time_links.email_of(services().account_secrets, link), PatientForm()
    clinic = _clinic_of(form, email)
    if clinic is None:
        return _page(form, email=email)
    try:
        account = _create(form, clinic, email)
    except EmailTakenError:
        db.session.rollback()
        abort(404, LINK_SPENT)
    if not one_time_links.spend(db.session(), link):
        db.session.rollback()
        abort(404, LINK_SPENT)
    return _welcome(account)


def _page(form: PatientForm, *, email: str | None = None) -> AnyResponse:
    return page("register.html", form, proved_email=email)


def _welcome(account: Account) -> AnyResponse:
    begin_session(account, second_factor=False, first=True)
    return redirect(url_for("portal.my_cases"))


def _clinic_of(form: PatientForm, email: str | None) -> Clinic | None:
    """The clinic that a good form chose; None where the form goes back with what is wrong."""
    clinic = _offered_clinic(form)
    if not form.validate_on_submit():
        return None
    if clinic is None:
        form.clinic.errors = ["Choose your clinic."]
        return None
    about = [form.given_name.data, form.family_name.data, email, clinic.name]
    problem = password_problem(form.password.data, about)
    if problem is not None:
        form.password.errors = [problem]
        return None
    return clinic


def _offered_clinic(form: PatientForm) -> Clinic | None:
    """The clinic that the form names; where only one takes patients, that one, unasked."""
    known = clinics.open_ones(db.session())
    if not known:
        abort(503, "No clinic takes new patients here at the moment. Please try again later.")
    visited = visited_clinic()
    form.offer([(one.slug, one.name) for one in known], visited=visited.slug if visited else None)
    return next((one for one in known if one.slug == form.clinic.data), None)


def _create(form: PatientForm, clinic: Clinic, email: str) -> Account:
    box = services().account_secrets
    hashed = services().passwords.hash(form.password.data)
    account = accounts.create_account(
        db.session(), box, NewAccount(clinic.id, Role.PATIENT, email, hashed)
    )
    birth_date = form.birth_date.data
    if birth_date is None:
        raise LookupError("A valid form has a birth date.")
    account.birth_date_sealed = box.seal(
        birth_date.isoformat(), account_id=account.id, column="birth_date"
    )
    patient = accounts.create_patient(db.session(), account)
    consents.record(db.session(), patient.id, form.consents)
    identity = Identity(form.family_name.data, form.given_name.data, birth_date)
    _seal_identity(patient, identity)
    _audit(account, patient, clinic)
    return account


def _audit(account: Account, patient: Patient, clinic: Clinic) -> None:
    for action in (AuditAction.ACCOUNT_CREATED, AuditAction.CONSENT_RECORDED):
        services().auditor.record(
            db.session(), action, account.id, clinic_id=clinic.id, patient_id=patient.id
        )


def _seal_identity(patient: Patient, identity: Identity) -> None:
    sealed_objects.add_text(
        db.session(),
        services().blobs,
        Place(patient.id, None, ObjectKind.IDENTITY),
        write_identity(identity),
        recipient=keys.sealing_recipient(db.session(), services().root_public_key),
    )
