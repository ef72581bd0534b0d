"""Patients register themselves; name and birth date are sealed as they arrive."""

from flask import abort, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Role
from clinic.account_secrets import password_problem
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, clinics, consents, keys, sealed_objects
from clinic.records.accounts import EmailTakenError, NewAccount
from clinic.records.models import Account, Clinic, Patient
from clinic.records.sealed_objects import Place
from web.database import db
from web.local_clinic import visited_clinic
from web.permission import before_sign_in
from web.portal.blueprint import portal
from web.portal.forms import RegisterForm
from web.portal.login import begin_session, page
from web.portal.texts import Identity, write_identity
from web.rate_limits import SIGN_IN_PER_ADDRESS, limiter
from web.services import services


@portal.route("/register", methods=["GET", "POST"])
@before_sign_in
@limiter.limit(SIGN_IN_PER_ADDRESS, methods=["POST"])
def register() -> AnyResponse:
    form = RegisterForm()
    clinic = _chosen_clinic(form)
    if not form.validate_on_submit():
        return page("register.html", form)
    if clinic is None:
        form.clinic.errors = ["Choose your clinic."]
        return page("register.html", form)
    problem = password_problem(form.password.data)
    if problem is not None:
        form.password.errors = [problem]
        return page("register.html", form)
    try:
        account = _create(form, clinic)
    except EmailTakenError:
        db.session.rollback()
        form.email.errors = ["Use another email address, or sign in if you have an account."]
        return page("register.html", form)
    begin_session(account, second_factor=False)
    return redirect(url_for("portal.my_cases"))


def _chosen_clinic(form: RegisterForm) -> Clinic | None:
    """The clinic that the form names; where only one takes patients, that one, unasked."""
    known = clinics.open_ones(db.session())
    if not known:
        abort(503, "No clinic takes new patients here at the moment. Please try again later.")
    visited = visited_clinic()
    form.offer([(one.slug, one.name) for one in known], visited=visited.slug if visited else None)
    return next((one for one in known if one.slug == form.clinic.data), None)


def _create(form: RegisterForm, clinic: Clinic) -> Account:
    box = services().account_secrets
    hashed = services().passwords.hash(form.password.data)
    new = NewAccount(clinic.id, Role.PATIENT, form.email.data, hashed)
    account = accounts.create_account(db.session(), box, new)
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
    for action in (AuditAction.ACCOUNT_CREATED, AuditAction.CONSENT_RECORDED):
        services().auditor.record(
            db.session(), action, account.id, clinic_id=clinic.id, patient_id=patient.id
        )
    return account


def _seal_identity(patient: Patient, identity: Identity) -> None:
    sealed_objects.add_text(
        db.session(),
        services().blobs,
        Place(patient.id, None, ObjectKind.IDENTITY),
        write_identity(identity),
        recipient=keys.sealing_recipient(db.session(), services().root_public_key),
    )
