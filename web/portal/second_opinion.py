"""At the desk: a reader asks for another opinion, and the clinic's rule asks before a signature."""

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import CaseFacts, Permission
from clinic.audit_event import AuditAction
from clinic.double_read import DecidedCase, Opinion, ReadReason, Wanted, wanted
from clinic.keeper_protocol import ObjectKind
from clinic.records import (
    adjudication,
    dermatologists,
    double_read_rules,
    first_reads,
    review,
    second_reads,
    submissions,
)
from clinic.records.adjudication import Held
from clinic.records.models import Submission
from clinic.records.second_reads import AlreadyAskedError, NewRead
from web.database import db
from web.guard import audit, case_for, me, missing
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.colleague_forms import POOL, AskForm, WithdrawForm
from web.portal.desk_forms import DecisionForm
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.second_read_view import name_of
from web.portal.texts import case_texts
from web.portal.wording import reference, site_words
from web.services import services

FIRST_READ_FIRST = "Save your own first read. Then ask for another one."
ASKED_ALREADY = "A second read of this case is open already, or the case is not in review any more."
HELD_WORDS = {
    Held.WAITING: "A second reader has not answered yet. You can sign when they have, or take your "
    "question back.",
    Held.TO_A_SECOND: "Before the letter leaves, a second dermatologist reads this case. You get "
    "it back when they have. The promised date stays.",
    Held.TO_A_THIRD: "The second reader would not end the case here. A third dermatologist decides "
    "before the letter leaves.",
    Held.NO_THIRD: "The second reader would not end the case here, and nobody else of the clinic "
    "can decide. Choose a plan in which the patient is seen.",
    Held.AGAINST_THE_THIRD: "The third reader would not end the case here. Choose a plan in which "
    "the patient is seen.",
}


@portal.get("/review/<case_id>/second-opinion")
@allowed(Permission.SEE_QUEUE)
def second_opinion(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.READ_CASE)
    if not _has_own_opinion(facts):
        return _first_read_first(row)
    audit(AuditAction.CASE_READ, row, detail="to ask a colleague")
    db.session.commit()
    return _ask_page(row, _form(row, fresh=True))


@portal.post("/review/<case_id>/second-opinion")
@allowed(Permission.SEE_QUEUE)
def ask_second_opinion(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.READ_CASE)
    if not _has_own_opinion(facts):
        return _first_read_first(row)
    form = _form(row, fresh=False)
    if not form.validate_on_submit():
        audit(AuditAction.REQUEST_REFUSED, row, detail="second opinion", allowed=False)
        db.session.commit()
        return _ask_page(row, form)
    try:
        second_reads.ask(db.session(), row, _wish(row, form, facts))
    except AlreadyAskedError:
        db.session.rollback()
        audit(AuditAction.REQUEST_REFUSED, row, detail="second opinion: open", allowed=False)
        db.session.commit()
        form.question.errors = [ASKED_ALREADY]
        return _ask_page(row, form, status=409)
    audit(AuditAction.SECOND_READ_ASKED, row, detail=_asked_detail(form))
    db.session.commit()
    flash("Your question is with your colleagues. You see the answer on this page.")
    return redirect(url_for("portal.review_case", case_id=row.id))


def _has_own_opinion(facts: CaseFacts) -> bool:
    return facts.signed or facts.first_read_by == me().actor.user_id


def _first_read_first(row: Submission) -> AnyResponse:
    audit(AuditAction.REQUEST_REFUSED, row, detail="second opinion: no first read", allowed=False)
    db.session.commit()
    flash(FIRST_READ_FIRST, "error")
    return redirect(url_for("portal.review_case", case_id=row.id))


def _form(row: Submission, *, fresh: bool) -> AskForm:
    form = AskForm(formdata=None) if fresh else AskForm()
    found = dermatologists.of_clinic(db.session(), row.clinic_id, but={me().actor.user_id})
    form.offer([(one.id, name_of(one)) for one in found])
    return form


def _ask_page(row: Submission, form: AskForm, *, status: int | None = None) -> AnyResponse:
    answer = page(
        "second_opinion.html",
        form,
        case={"id": row.id, "reference": reference(row.id), "site": site_words(row)},
    )
    answer.status_code = status or answer.status_code
    return answer


def _wish(row: Submission, form: AskForm, facts: CaseFacts) -> NewRead:
    """What the reader thinks is kept with it: by the record, or by the first read so far."""
    report = submissions.signed_report(db.session(), row.id) if facts.signed else None
    first = first_reads.find(db.session(), row.id)
    impression = first.impression if first else None
    return NewRead(
        reason=ReadReason.ASKED,
        blind=form.mode.data == "blind",
        holds=not facts.signed,
        asked_by=me().actor.user_id,
        asked_of=None if form.colleague.data == POOL else form.colleague.data,
        first_diagnosis=report.diagnosis if report else impression,
        first_plan=report.plan if report else None,
        question=seal_text(row, ObjectKind.QUESTION, form.question.data),
    )


def _asked_detail(form: AskForm) -> str:
    whom = "pool" if form.colleague.data == POOL else form.colleague.data
    return f"{form.mode.data}, {whom}"


@portal.post("/second-reads/<read_id>/withdraw")
@allowed(Permission.SEE_QUEUE)
def withdraw_second_read(read_id: str) -> AnyResponse:
    """Take one's own question back."""
    found = second_reads.find(db.session(), read_id)
    if found is None:
        missing("second read")
    row, _ = case_for(found.submission_id, Permission.READ_CASE)
    form = WithdrawForm()
    if not form.validate_on_submit():
        audit(AuditAction.REQUEST_REFUSED, row, detail="withdrawal", allowed=False)
        db.session.commit()
        flash("Choose a reason to take the question back.", "error")
        return redirect(url_for("portal.review_case", case_id=row.id))
    reader = me().actor.user_id
    reason = form.withdrawal.data
    if not second_reads.withdraw(db.session(), found.id, asked_by=reader, reason=reason):
        db.session.rollback()
        abort(409, "It was answered meanwhile, or it is not your question. Load the case again.")
    audit(AuditAction.SECOND_READ_WITHDRAWN, row, detail=reason)
    db.session.commit()
    flash("Your question is taken back.")
    return redirect(url_for("portal.review_case", case_id=row.id))


def held_back(row: Submission, form: DecisionForm) -> bool:
    """Whether other readers come before this signature; the reader is told who and why."""
    decision = Opinion(form.diagnosis.data, form.plan.data)
    rule_says = _wanted(row, decision)
    held = adjudication.hold(
        db.session(), row, reader_id=me().actor.user_id, decision=decision, wanted=rule_says
    )
    if held is None:
        return False
    audit(AuditAction.SIGNATURE_HELD, row, detail=held)
    db.session.commit()
    flash(HELD_WORDS[held], "error" if held is not Held.TO_A_SECOND else "message")
    return True


def after_signing(row: Submission, skin_type: str | None) -> None:
    """In the signature's transaction: the consensus, or the audit that the clinic's rule wants."""
    report = submissions.signed_report(db.session(), row.id)
    if report is not None:
        decision = Opinion(report.diagnosis, report.plan)
        says = _wanted_with(row, decision, skin_type=skin_type)
        adjudication.after_signing(db.session(), row, wanted=says)


def _wanted(row: Submission, decision: Opinion) -> Wanted | None:
    """The request's transaction ends here: the patient's own word on the skin type is sealed."""
    history = case_texts(row, [ObjectKind.HISTORY]).history
    return _wanted_with(row, decision, skin_type=history.skin_type if history else None)


def _wanted_with(row: Submission, decision: Opinion, *, skin_type: str | None) -> Wanted | None:
    first = first_reads.find(db.session(), row.id)
    result = review.result_of(db.session(), row.id)
    seen = result.probabilities if result is not None else None
    decided = DecidedCase(
        case_id=row.id,
        skin_type=skin_type,
        first_read=first.impression if first else decision.diagnosis,
        computer=max(seen, key=lambda label: seen[label]) if seen else None,
        decision=decision,
    )
    rule = double_read_rules.rule_of(db.session(), row.clinic_id)
    return wanted(decided, rule, key=services().auditor.key)
