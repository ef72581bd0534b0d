"""One case at the desk: blind first read, the computer's view, the decision, the signature."""

import json
from typing import Any

from flask import abort, flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import CaseFacts, Permission, may
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.reading_grade import reading_grade
from clinic.records import keys, review, sealed_objects, submissions
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    Patient,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.records.review import Decision, Impression, NotOwnerError
from clinic.records.sealed_objects import Place
from clinic.submission import CaseState, ScreeningState
from web.database import db
from web.guard import audit, case_for, deny, me
from web.permission import allowed
from web.portal import case_view, desk_colleagues, second_opinion
from web.portal.blueprint import portal
from web.portal.forms import DecisionForm, FirstReadForm, ReleaseForm, RetakeForm
from web.portal.login import page
from web.portal.texts import CaseTexts, case_texts
from web.portal.viewing import pictures_of
from web.services import services
from web.step_up import require_step_up

TEXTS = (ObjectKind.HISTORY, ObjectKind.IDENTITY)


@portal.get("/review/<case_id>")
@allowed(Permission.SEE_QUEUE)
def review_case(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.SEE_IN_QUEUE)
    if facts.signed:
        return _signed(row, facts)
    return _desk(row, facts)


@portal.post("/review/<case_id>/first-read")
@allowed(Permission.SEE_QUEUE)
def record_first_read(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.READ_CASE)
    form = FirstReadForm()
    if not form.validate_on_submit():
        return _desk(row, facts, first_read_form=form)
    blind = Impression(form.impression.data, form.confidence.data)
    review.record_first_read(db.session(), row.id, reader_id=me().actor.user_id, blind=blind)
    audit(AuditAction.FIRST_READ_RECORDED, row)
    db.session.commit()
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.route("/review/<case_id>/sign", methods=["POST"])
@allowed(Permission.SEE_QUEUE)
def sign_case(case_id: str) -> AnyResponse:
    """First the preview, then, with a fresh proof of identity, the signature."""
    row, facts = case_for(case_id, Permission.SIGN)
    form = DecisionForm()
    if not form.validate_on_submit() or _wanted("change"):
        return _desk(row, facts, decision_form=form)
    if form.plan.data == "second_opinion":
        return redirect(url_for("portal.second_opinion", case_id=row.id))
    if not _wanted("sign"):
        return _preview(row, form)
    require_step_up(url_for("portal.review_case", case_id=row.id))
    if second_opinion.held_back(row, form):
        return _desk(row, facts, decision_form=form)
    _sign(row, form)
    flash("Signed. The patient can read it now.")
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.post("/review/<case_id>/retake")
@allowed(Permission.SEE_QUEUE)
def request_retake(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.READ_CASE)
    form = RetakeForm()
    if not form.validate_on_submit():
        return _desk(row, facts, retake_form=form)
    reason, message = case_view.retake_words(form.reasons.data), (form.message.data or "").strip()
    if not review.request_retake(db.session(), row.id, reader_id=me().actor.user_id, reason=reason):
        db.session.rollback()
        abort(409)
    if message:
        _sealed_text(row, ObjectKind.RETAKE, message)
    audit(AuditAction.RETAKE_REQUESTED, row, detail=", ".join(form.reasons.data))
    db.session.commit()
    flash("The patient is asked for new photos.")
    return redirect(url_for("portal.review_queue"))


def _wanted(action: str) -> bool:
    return request.form.get("action") == action


def _desk(row: Submission, facts: CaseFacts, **forms: Any) -> AnyResponse:
    """The page of a case in review; what a form got wrong stays in it."""
    if not may(me().actor, Permission.READ_CASE, facts):
        return _closed_desk(row, facts)
    first_read = review.first_read(db.session(), row.id)
    revealed = may(me().actor, Permission.SEE_COMPUTER_VIEW, facts)
    result = review.result_of(db.session(), row.id)
    photos = [one for one in pictures_of(row) if one.kind != ObjectKind.HEATMAP]
    audit(AuditAction.CASE_READ, row, detail="computer's view" if revealed else "blind")
    texts = case_texts(row, TEXTS)
    computer = case_view.computer(result, first_read) if revealed and result else None
    shown = _forms(row, forms)
    colleagues = desk_colleagues.panel(row, facts)
    return page(
        "review_case.html",
        next(iter(forms.values()), shown["release_form"]),
        case=_case(row, texts),
        patient=_patient(row, texts),
        history=texts.history,
        history_lost=ObjectKind.HISTORY in texts.lost,
        rule_reasons=case_view.rule_reasons(row, result, texts.history),
        owner=_owner(row, facts),
        photos=case_view.photos(photos),
        grant_url=f"/cases/{row.id}/grants",
        first_read=case_view.first_read(first_read) if revealed and first_read else None,
        computer=computer,
        icd10_suggestions=case_view.icd10_suggestions(),
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
        case=_case(row, None),
        patient=None,
        history=None,
        history_lost=False,
        owner=_owner(row, facts),
        photos=[],
        grant_url="",
        first_read=None,
        computer=None,
        icd10_suggestions=[],
        colleagues=None,
        **_forms(row, {}),
    )


def _forms(row: Submission, given: dict[str, Any]) -> dict[str, Any]:
    available = row.screening_state == ScreeningState.DONE and row.ai_permitted
    fresh = {
        "first_read_form": FirstReadForm(formdata=None),
        "decision_form": DecisionForm(
            formdata=None, agreement=None if available else "not_available"
        ),
        "retake_form": RetakeForm(formdata=None),
        "release_form": ReleaseForm(formdata=None),
    }
    return {**fresh, **given}


def _case(row: Submission, texts: CaseTexts | None) -> dict[str, Any]:
    result = review.result_of(db.session(), row.id)
    detail = texts.history.location.detail if texts and texts.history else ""
    now = database_now(db.session())
    return case_view.case(row, result, site_detail=detail, now=now)


def _patient(row: Submission, texts: CaseTexts) -> dict[str, Any]:
    patient = db.session.get_one(Patient, row.patient_id)
    history = texts.history
    return {
        "name": texts.identity.full_name if texts.identity else "",
        "age": history.age if history else None,
        "sex": history.sex.label if history else "",
        "record_number": patient.record_number,
    }


def _owner(row: Submission, facts: CaseFacts) -> dict[str, Any] | None:
    if facts.claimed_by is None:
        return None
    account = db.session.get_one(Account, facts.claimed_by)
    return {
        "name": f"{account.given_name} {account.family_name}",
        "mine": account.id == me().actor.user_id,
        "until": row.claim_until or database_now(db.session()),
    }


def _preview(row: Submission, form: DecisionForm) -> AnyResponse:
    result = review.result_of(db.session(), row.id)
    db.session.commit()
    letter = {
        "plan": form.plan.data,
        "text": form.patient_text.data,
        "ai_used": _ai_used(result),
        "image_quality": form.image_quality.data,
    }
    return page(
        "sign_review.html",
        form,
        case=_case(row, None),
        decision=case_view.decision_of_form(form),
        result=letter,
        reading_grade=max(0.0, reading_grade(form.patient_text.data or "")),
    )


def _ai_used(result: ScreeningResult | None) -> bool:
    return result is not None and result.ai_used


def _sign(row: Submission, form: DecisionForm) -> None:
    """Seal the texts and close the case, in one transaction."""
    texts = case_texts(row, [ObjectKind.HISTORY])
    sex = texts.history.sex if texts.history else "unknown"
    finding_text = json.dumps(
        {
            "diagnosis_text": form.diagnosis_text.data or "",
            "clinical_note": form.clinical_note.data or "",
            "sex": sex,
        }
    )
    finding = _sealed_text(row, ObjectKind.FINDING, finding_text)
    letter = _sealed_text(row, ObjectKind.LETTER, form.patient_text.data)
    decision = Decision(
        diagnosis=form.diagnosis.data,
        icd10cm=form.icd10_code.data,
        confidence=form.confidence.data,
        image_quality=form.image_quality.data,
        plan=form.plan.data,
        agreement=form.agreement.data,
        override_reason=form.override_reason.data or None,
        finding=finding,
        letter=letter,
    )
    try:
        review.sign(db.session(), row, reader_id=me().actor.user_id, decision=decision)
    except NotOwnerError:
        db.session.rollback()
        abort(409, "You do not hold this case any more. Nothing was signed.")
    second_opinion.after_signing(row, texts.history.skin_type if texts.history else None)
    audit(AuditAction.CASE_SIGNED, row, detail=f"version 1, {decision.plan}")
    db.session.commit()


def _sealed_text(row: Submission, kind: ObjectKind, text: str) -> SealedObject:
    recipient = keys.sealing_recipient(db.session(), services().root_public_key)
    slot = sealed_objects.next_slot(db.session(), row.id, kind)
    place = Place(row.patient_id, row.id, kind, slot)
    return sealed_objects.add_text(db.session(), services().blobs, place, text, recipient=recipient)


def _signed(row: Submission, facts: CaseFacts) -> AnyResponse:
    if not may(me().actor, Permission.READ_CASE, facts):
        deny(row, detail=Permission.READ_CASE)
    report = submissions.signed_report(db.session(), row.id)
    if report is None or row.case_state != CaseState.SIGNED:
        abort(404)
    result = review.result_of(db.session(), row.id)
    audit(AuditAction.CASE_READ, row, detail="signed record")
    texts = case_texts(row, [ObjectKind.FINDING, ObjectKind.LETTER])
    colleagues = desk_colleagues.panel(row, facts)
    return _signed_page(row, report, result, texts, colleagues)


def _signed_page(
    row: Submission,
    report: SignedReport,
    result: ScreeningResult | None,
    texts: CaseTexts,
    colleagues: dict[str, Any],
) -> AnyResponse:
    signer = db.session.get_one(Account, report.signer_id)
    letter = {
        "plan": report.plan,
        "text": texts.letter or "",
        "ai_used": _ai_used(result),
        "image_quality": report.image_quality,
        "signed_at": report.signed_at,
        "signer_name": f"{signer.given_name} {signer.family_name}",
        "registration_number": signer.registration_number,
        "version": report.version,
        "status": "final" if report.version == 1 else "amended",
    }
    return page(
        "signed_case.html",
        ReleaseForm(formdata=None),
        case=_case(row, None),
        decision=case_view.decision_of_report(report, texts.finding or {}),
        result=letter,
        computer_line=case_view.computer_line(result),
        colleagues=colleagues,
    )
