"""Signing a decision: a look at the whole of it, a fresh proof of identity, one transaction."""

import json
from datetime import date
from typing import Any, Final

from flask import abort, flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import CaseFacts, Permission
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.letter import language_of
from clinic.notices import NoticeKind
from clinic.reading_grade import reading_grade
from clinic.records import drafts as draft_records
from clinic.records import notices, review
from clinic.records.drafts import OutdatedDraftError
from clinic.records.models import Account, Patient, Submission
from clinic.records.review import Decision, NotOwnerError
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal import computer_view, drafts, second_opinion
from web.portal.blueprint import portal
from web.portal.decision_view import decision_of_form
from web.portal.desk_forms import LEADS_ON, RETAKE, DecisionForm, ReadingForm
from web.portal.login import page
from web.portal.review_case import desk
from web.portal.sealing import seal_text
from web.portal.shown_case import shown_case
from web.portal.texts import case_texts
from web.portal.wording import ENGLISH
from web.step_up import require_step_up, stepped_up

LOST_CLAIM: Final = "You do not hold this case any more. Nothing was signed."
_LEADING_WORDS: Final = {
    RETAKE: "Your draft is saved. Say below what is wrong with the photos.",
    "second_opinion": "Your draft is saved. Ask your colleague here.",
}


@portal.route("/review/<case_id>/sign", methods=["GET", "POST"])
@allowed(Permission.SEE_QUEUE)
def sign_case(case_id: str) -> AnyResponse:
    """First the preview, then, with a fresh proof of identity, the signature."""
    row, facts = case_for(case_id, Permission.SIGN)
    if request.method == "GET":
        return _preview_of_draft(row, facts)
    form = DecisionForm()
    if wanted("change"):
        return desk(row, facts, decision_form=form)
    if form.plan.data in LEADS_ON:
        return _lead_on(row, facts, form)
    if not form.validate_on_submit() or not _agreement_fits(row, form):
        return desk(row, facts, decision_form=form)
    try:
        return _go_on(row, facts, form)
    except OutdatedDraftError:
        db.session.rollback()
        flash(drafts.OLDER_TAB, "error")
        answer = desk(row, facts, decision_form=form)
        answer.status_code = 409
        return answer


def _agreement_fits(row: Submission, form: DecisionForm) -> bool:
    """Whether the form is right in what it says of the computer's view."""
    problem = computer_view.agreement_problem(
        review.result_of(db.session(), row.id),
        agreement=form.agreement.data,
        diagnosis=form.diagnosis.data,
    )
    if problem is not None:
        form.agreement.errors = [problem]
    return problem is None


def wanted(action: str) -> bool:
    return request.form.get("action") == action


def _go_on(row: Submission, facts: CaseFacts, form: DecisionForm) -> AnyResponse:
    """With the draft saved first, so that a signature that needs another proof loses nothing."""
    if wanted("sign") and stepped_up():
        drafts.check_newest(row, form)
        if second_opinion.held_back(row, form):
            keep_for_preview(row, form)
            db.session.commit()
            return desk(row, facts, decision_form=form)
        _sign(row, form)
        flash("Signed. The patient can read it now.")
        return redirect(url_for("portal.review_case", case_id=row.id))
    keep_for_preview(row, form)
    if wanted("sign"):
        db.session.commit()
        require_step_up(url_for("portal.sign_case", case_id=row.id))
    return _preview(row, form)


def keep_for_preview(row: Submission, form: ReadingForm) -> None:
    """Save the form as a draft; the preview's own form then knows that revision."""
    form.draft_revision.data = str(drafts.keep(row, form).revision)


def _lead_on(row: Submission, facts: CaseFacts, form: DecisionForm) -> AnyResponse:
    """Neither new photos nor a second opinion is a decision: what was written waits as a draft."""
    try:
        drafts.keep(row, form)
    except OutdatedDraftError:
        db.session.rollback()
        flash(drafts.OLDER_TAB, "error")
        return desk(row, facts, decision_form=form)
    db.session.commit()
    flash(_LEADING_WORDS[form.plan.data])
    if form.plan.data == RETAKE:
        return redirect(url_for("portal.review_case", case_id=row.id, open=RETAKE, _anchor=RETAKE))
    return redirect(url_for("portal.second_opinion", case_id=row.id))


def _preview_of_draft(row: Submission, facts: CaseFacts) -> AnyResponse:
    """Where a proof of identity leads back to."""
    texts = case_texts(row, [ObjectKind.DRAFT])
    form = drafts.restored(texts.draft, DecisionForm)
    kept = drafts.own_draft(row)
    if form is None or kept is None or not form.validate():
        return desk(row, facts)
    if not _agreement_fits(row, form):
        return desk(row, facts, decision_form=form)
    form.draft_revision.data = str(kept.revision)
    return _preview(row, form)


def _preview(row: Submission, form: DecisionForm) -> AnyResponse:
    result = review.result_of(db.session(), row.id)
    audit(AuditAction.SIGNING_PREVIEWED, row)
    db.session.commit()
    return page(
        "sign_review.html",
        form,
        case=shown_case(row, None),
        action=url_for("portal.sign_case", case_id=row.id),
        changes=None,
        decision=decision_of_form(form),
        result={
            "ai_used": result is not None and result.ai_used,
            **letter_of_form(form),
        },
        gp_letter=form.gp_text.data or "",
        reading_grade=grade_of(form),
    )


def letter_of_form(form: ReadingForm) -> dict[str, Any]:
    """As the patient will read it."""
    return {
        "plan": form.plan.data,
        "text": form.patient_text.data,
        "language": language_of(form.letter_template.data),
        "follow_up_on": form.follow_up_on.data,
        "image_quality": form.image_quality.data,
    }


def grade_of(form: ReadingForm) -> float | None:
    """The grade of the patient's text; None for a letter in a language that has no formula here."""
    if language_of(form.letter_template.data) not in {None, ENGLISH}:
        return None
    return max(0.0, reading_grade(form.patient_text.data or ""))


def _sign(row: Submission, form: DecisionForm) -> None:
    """Seal the texts and close the case, in one transaction."""
    texts = case_texts(row, [ObjectKind.HISTORY])
    decision = sealed_decision(
        row,
        form,
        sex=texts.history.sex if texts.history else "unknown",
        agreement=form.agreement.data,
        override_reason=form.override_reason.data or None,
    )
    try:
        review.sign(db.session(), row, reader_id=me().actor.user_id, decision=decision)
    except NotOwnerError:
        db.session.rollback()
        abort(409, LOST_CLAIM)
    second_opinion.after_signing(row, texts.history.skin_type if texts.history else None)
    draft_records.discard(db.session(), row.id)
    tell_patient(row)
    audit(AuditAction.CASE_SIGNED, row, detail=f"version 1, {decision.plan}")
    db.session.commit()


def sealed_decision(
    row: Submission, form: ReadingForm, *, sex: str, agreement: str, override_reason: str | None
) -> Decision:
    """The form as a decision, its texts sealed in the caller's transaction."""
    finding = {
        "diagnosis_text": form.diagnosis_text.data or "",
        "clinical_note": form.clinical_note.data or "",
        "sex": sex,
    }
    to_gp = (form.gp_text.data or "").strip()
    day: date | None = form.follow_up_on.data
    return Decision(
        diagnosis=form.diagnosis.data,
        icd10cm=form.icd10_code.data,
        confidence=form.confidence.data,
        image_quality=form.image_quality.data,
        plan=form.plan.data,
        agreement=agreement,
        override_reason=override_reason,
        finding=seal_text(row, ObjectKind.FINDING, json.dumps(finding)),
        letter=seal_text(row, ObjectKind.LETTER, form.patient_text.data),
        gp_letter=seal_text(row, ObjectKind.GP_LETTER, to_gp) if to_gp else None,
        letter_template=form.letter_template.data or None,
        follow_up_on=day,
    )


def tell_patient(row: Submission) -> None:
    """Leave a notice that says no more than that there is something to read."""
    patient = db.session.get_one(Patient, row.patient_id)
    account = db.session.get(Account, patient.account_id) if patient.account_id else None
    if account is not None:
        notices.tell(db.session(), account, NoticeKind.NEWS)
