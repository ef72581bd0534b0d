"""The patient asks to be erased, thinks better of it, and fetches the certificate afterwards."""

from flask import Response, abort, flash, redirect, render_template, url_for
from flask_login import logout_user
from werkzeug.wrappers import Response as AnyResponse
from wtforms import BooleanField
from wtforms.validators import InputRequired

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.erasure_certificate import read
from clinic.installation_key import InstallationPublicKey
from clinic.records import erasure, erasure_requests
from clinic.records.models import ErasureRequest, Patient
from clinic.retention import (
    ErasurePolicy,
    ErasureRefusal,
    ErasureState,
    kept_until,
    may_erase_at_once,
)
from web.database import db
from web.guard import audit, me
from web.permission import allowed, before_sign_in
from web.portal.blueprint import portal
from web.portal.erasing import erase_now
from web.portal.forms import PortalForm
from web.portal.login import page
from web.rate_limits import SIGN_IN_PER_ADDRESS, limited
from web.services import services
from web.step_up import needs_step_up

NO_CERTIFICATE = (
    "This address was used before, or it is not right. If you saved the certificate, you have it "
    "all. If you did not, call the clinic."
)


class ErasureForm(PortalForm):
    sure = BooleanField(
        "I know that this cannot be undone.",
        [InputRequired("Tick the box if you want us to erase your record.")],
    )


@portal.get("/my-record/erasure")
@allowed(Permission.KEEP_OWN_RECORD)
@needs_step_up()
def erasure_page() -> AnyResponse:
    return _page(ErasureForm(formdata=None), _newest())


def _page(form: PortalForm, wish: ErasureRequest | None) -> AnyResponse:
    summary = erasure.find_patient(db.session(), me().actor.patient_id or "")
    if summary is None:
        raise LookupError("The signed-in patient is not there.")
    audit(AuditAction.ERASURE_ANSWER_READ)
    db.session.commit()
    shown = {
        "wish": wish,
        "refusal": ErasureRefusal(wish.refusal).sentence if wish and wish.refusal else None,
        "patient": summary,
        "at_once": may_erase_at_once(services().erasure_policy, cases=summary.cases),
        "kept_until": kept_until(summary.last_contact),
        "law_applies": services().erasure_policy is ErasurePolicy.DECIDED and summary.cases > 0,
    }
    return page("my_erasure.html", form, **shown)


def _newest() -> ErasureRequest | None:
    return erasure_requests.newest_of(db.session(), me().actor.patient_id or "")


@portal.post("/my-record/erasure")
@allowed(Permission.KEEP_OWN_RECORD)
@limited(SIGN_IN_PER_ADDRESS)
@needs_step_up(back="portal.erasure_page")
def ask_for_erasure() -> AnyResponse:
    form = ErasureForm()
    if not form.validate_on_submit():
        return _page(form, _newest())
    patient = db.session.get_one(Patient, me().actor.patient_id, with_for_update=True)
    wish = _newest()
    if wish is not None and wish.state in {ErasureState.OPEN, ErasureState.GRANTED}:
        abort(409, "You have asked for this already. Load the page again to see where it stands.")
    asked = erasure_requests.ask(db.session(), patient)
    summary = erasure.find_patient(db.session(), patient.id)
    cases = summary.cases if summary else 0
    at_once = may_erase_at_once(services().erasure_policy, cases=cases)
    if at_once:
        erasure_requests.grant(db.session(), asked.request_id, by="policy")
    audit(AuditAction.ERASURE_ASKED, detail="at once" if at_once else "to be decided")
    db.session.commit()
    if not at_once:
        return _asked(asked.token, done=False)
    done = erase_now(patient.id)
    logout_user()
    response = _asked(asked.token, done=done)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def _asked(token: str, *, done: bool) -> Response:
    """The address of the answer is shown once: only the token's digest is stored."""
    path = url_for("portal.erasure_answer", token=token)
    origin = services().public_url
    return Response(render_template("erasure_asked.html", origin=origin, path=path, done=done))


@portal.post("/my-record/erasure/withdraw")
@allowed(Permission.KEEP_OWN_RECORD)
def withdraw_erasure() -> AnyResponse:
    form = PortalForm()
    wish = _newest()
    if not form.validate_on_submit() or wish is None:
        abort(404)
    if not erasure_requests.withdraw(db.session(), wish.id):
        db.session.rollback()
        abort(409, "This was decided already. Load the page again to see how.")
    audit(AuditAction.ERASURE_WITHDRAWN)
    db.session.commit()
    flash("We will not erase your record.")
    return redirect(url_for("portal.erasure_page"))


@portal.get("/erasure/<token>")
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS, methods=["GET"])
def erasure_answer(token: str) -> AnyResponse | str:
    """Where a wish stands, for whoever has its address; there may be no account any more."""
    wish = erasure_requests.by_token(db.session(), token)
    if wish is None:
        abort(404, NO_CERTIFICATE)
    _audit_answer(AuditAction.ERASURE_ANSWER_READ, wish)
    public_key = InstallationPublicKey.of(services().eraser.signer.public)
    shown = read(wish.certificate, public_key) if wish.certificate else None
    return page(
        "erasure_answer.html",
        PortalForm(formdata=None),
        wish=wish,
        refusal=ErasureRefusal(wish.refusal).sentence if wish.refusal else None,
        certificate=shown,
        public_key=services().eraser.signer.public,
        token=token,
    )


@portal.post("/erasure/<token>")
@before_sign_in
@limited(SIGN_IN_PER_ADDRESS)
def fetch_certificate(token: str) -> AnyResponse:
    """The signed certificate as a file, once."""
    wish = erasure_requests.by_token(db.session(), token)
    if wish is None or not PortalForm().validate_on_submit():
        abort(404, NO_CERTIFICATE)
    certificate = erasure_requests.spend_certificate(db.session(), token)
    if certificate is None:
        abort(409, "There is no certificate yet. Come back when the record is erased.")
    _audit_answer(AuditAction.CERTIFICATE_FETCHED, wish)
    response = Response(certificate, content_type="application/json")
    response.headers["Content-Disposition"] = 'attachment; filename="erasure-certificate.json"'
    return response


def _audit_answer(action: AuditAction, wish: ErasureRequest) -> None:
    """By whoever holds the address: the wish's id is all that is known of them."""
    services().auditor.record(
        db.session(),
        action,
        "holder of the address",
        clinic_id=wish.clinic_id,
        patient_id=wish.patient_id,
        detail=f"request {wish.id}",
    )
    db.session.commit()
