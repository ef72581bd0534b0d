"""One case at the desk: blind first read, the computer's view, the form of the decision."""

from typing import Any

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.abcde import abcde
from clinic.access import CaseFacts, Permission, may
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records import first_reads, review
from clinic.records.db import database_now
from clinic.records.models import Account, Patient, Submission
from clinic.submission import ScreeningState
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal import (
    attachments,
    case_view,
    computer_view,
    desk_colleagues,
    desk_photos,
    drafts,
)
from web.portal.blueprint import portal
from web.portal.desk_forms import AttachmentForm, DecisionForm, RetakeForm
from web.portal.first_read_form import FirstReadForm
from web.portal.forms import ReleaseForm
from web.portal.hand_over import passed_on, with_colleagues
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.shown_case import shown_case
from web.portal.signed_record import signed_record
from web.portal.texts import CaseTexts, case_texts
from web.portal.viewing import pictures_of
from web.portal.wording import LANGUAGES

TEXTS = (ObjectKind.HISTORY, ObjectKind.IDENTITY)


@portal.get("/review/<case_id>")
@allowed(Permission.SEE_QUEUE)
def review_case(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.SEE_IN_QUEUE)
    if facts.signed:
        return signed_record(row, facts)
    return desk(row, facts)


@portal.post("/review/<case_id>/retake")
@allowed(Permission.SEE_QUEUE)
def request_retake(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.READ_CASE)
    form = RetakeForm()
    if not form.validate_on_submit():
        return desk(row, facts, retake_form=form)
    reason, message = case_view.retake_words(form.reasons.data), (form.message.data or "").strip()
    if not review.request_retake(db.session(), row.id, reader_id=me().actor.user_id, reason=reason):
        db.session.rollback()
        abort(409)
    if message:
        seal_text(row, ObjectKind.RETAKE, message)
    audit(AuditAction.RETAKE_REQUESTED, row, detail=", ".join(form.reasons.data))
    db.session.commit()
    flash("The patient is asked for new photos.")
    return redirect(url_for("portal.review_queue"))


def desk(row: Submission, facts: CaseFacts, **forms: Any) -> AnyResponse:
    """The page of a case in review; what a form got wrong stays in it."""
    if not may(me().actor, Permission.READ_CASE, facts):
        return _closed_desk(row, facts)
    first_reads.start(db.session(), row.id, reader_id=me().actor.user_id)
    first_read = first_reads.find(db.session(), row.id)
    revealed = may(me().actor, Permission.SEE_COMPUTER_VIEW, facts)
    result = review.result_of(db.session(), row.id)
    pictures = pictures_of(row)
    audit(AuditAction.CASE_READ, row, detail="computer's view" if revealed else "blind")
    kept = drafts.own_draft(row) if revealed and "decision_form" not in forms else None
    texts = case_texts(row, (*TEXTS, ObjectKind.DRAFT) if kept else TEXTS)
    computer = computer_view.computer(result, first_read, texts.history) if revealed else None
    if computer is not None:
        first_reads.reveal(db.session(), row.id, reader_id=me().actor.user_id)
        db.session.commit()
    shown = _forms(row, _restored(texts) | forms)
    shown["decision_form"].offer_agreements(with_computer=computer is not None)
    colleagues = desk_colleagues.panel(row, facts)
    return page(
        "review_case.html",
        next(iter(forms.values()), shown["release_form"]),
        case=shown_case(row, texts),
        patient=_patient(row, texts),
        history=texts.history,
        history_lost=ObjectKind.HISTORY in texts.lost,
        rule_reasons=case_view.rule_reasons(row, result, texts.history),
        owner=_owner(row, facts),
        passed_on=passed_on(row),
        photos=desk_photos.photos(pictures, computer_view.layer_labels(pictures, result)),
        earlier_visits=desk_photos.earlier_visits(row),
        image_quality=desk_photos.image_quality(result),
        abcde=abcde(texts.history) if texts.history else None,
        first_read=case_view.first_read(first_read) if revealed and first_read else None,
        computer=computer,
        draft=drafts.offered(drafts.own_draft(row), shown=texts.draft is not None),
        attachments=attachments.shown(row),
        colleagues=colleagues,
        **shown,
    )


def _closed_desk(row: Submission, facts: CaseFacts) -> AnyResponse:
    """Before a claim nothing personal is opened: only what the queue shows."""
    audit(AuditAction.CASE_LISTED, row, detail="not claimed")
    db.session.commit()
    form = ReleaseForm(formdata=None)
    return page(
        "review_case.html",
        form,
        case=shown_case(row, None),
        patient=None,
        history=None,
        history_lost=False,
        owner=_owner(row, facts),
        passed_on=passed_on(row),
        photos=[],
        earlier_visits=[],
        image_quality="",
        abcde=None,
        first_read=None,
        computer=None,
        draft=drafts.offered(None, shown=False),
        attachments=[],
        colleagues=None,
        **_forms(row, {}),
    )


def _restored(texts: CaseTexts) -> dict[str, Any]:
    form = drafts.restored(texts.draft, DecisionForm)
    return {} if form is None else {"decision_form": form}


def _forms(row: Submission, given: dict[str, Any]) -> dict[str, Any]:
    available = row.screening_state == ScreeningState.DONE and row.ai_permitted
    fresh = {
        "first_read_form": FirstReadForm(formdata=None),
        "decision_form": DecisionForm(
            formdata=None, agreement=None if available else "not_available"
        ),
        "retake_form": RetakeForm(formdata=None),
        "release_form": with_colleagues(ReleaseForm(formdata=None)),
        "attachment_form": AttachmentForm(formdata=None),
    }
    return {**fresh, **given}


def _patient(row: Submission, texts: CaseTexts) -> dict[str, Any]:
    patient = db.session.get_one(Patient, row.patient_id)
    history = texts.history
    return {
        "name": texts.identity.full_name if texts.identity else "",
        "age": history.age if history else None,
        "sex": history.sex.label if history else "",
        "record_number": patient.record_number,
        "language": LANGUAGES.get(patient.language, patient.language),
    }


def _owner(row: Submission, facts: CaseFacts) -> dict[str, Any] | None:
    if facts.claimed_by is None:
        return None
    account, now = db.session.get_one(Account, facts.claimed_by), database_now(db.session())
    until = row.claim_until or now
    return {
        "name": f"{account.given_name} {account.family_name}",
        "mine": account.id == me().actor.user_id,
        "until": until,
        "left": int((until - now).total_seconds()),
    }
