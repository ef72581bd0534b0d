"""Changing a signed report: a later version with its reason, or an addendum. Nothing is edited."""

import json
from collections.abc import Callable
from typing import Any, Final

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.letter import text_mark
from clinic.records import drafts as draft_records
from clinic.records import report_versions, review, submissions
from clinic.records.db import database_now
from clinic.records.drafts import OutdatedDraftError
from clinic.records.models import SignedReport, Submission
from clinic.records.report_versions import Change, OutdatedVersionError
from clinic.records.review import Decision
from clinic.report_values import ReportStatus
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal import drafts
from web.portal.blueprint import portal
from web.portal.decision_view import changed_rows, decision_of_form, decision_of_report
from web.portal.desk_forms import (
    ADDENDUM,
    CHANGE_REASONS,
    CHANGES,
    AddendumForm,
    ChangeForm,
    WrittenForm,
)
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.shown_case import shown_case
from web.portal.signing import (
    grade_of,
    keep_for_preview,
    letter_of_form,
    sealed_decision,
    tell_patient,
    wanted,
)
from web.portal.texts import CaseTexts, case_texts
from web.portal.wording import day_words
from web.step_up import require_step_up, stepped_up

OUTDATED: Final = (
    "Another version was signed since you began. Nothing was signed. Read it first, then change it."
)
_TEXTS: Final = (
    *(ObjectKind.FINDING, ObjectKind.LETTER, ObjectKind.GP_LETTER),
    ObjectKind.DRAFT,
)


@portal.route("/review/<case_id>/change", methods=["GET", "POST"])
@allowed(Permission.SEE_QUEUE)
def change_report(case_id: str) -> AnyResponse:
    """The report as a form, then a look at what is new in it, then the signature."""
    row, _ = case_for(case_id, Permission.CHANGE_REPORT)
    report = _newest(row)
    texts = case_texts(row, _TEXTS)
    if request.method == "GET":
        return _began(row, report, texts)
    form = ChangeForm()
    if wanted("change") or not form.validate_on_submit():
        return change_page(row, form)
    return _guarded(row, form, lambda: _go_on(row, report, texts, form))


def _newest(row: Submission) -> SignedReport:
    report = submissions.signed_report(db.session(), row.id)
    if report is None:
        raise LookupError("A signed case has no report.")
    return report


def _began(row: Submission, report: SignedReport, texts: CaseTexts) -> AnyResponse:
    """The form as its draft has it, or else the report as it stands.

    A proof of identity leads back to the preview that asked for it.
    """
    kept, revision = drafts.restored(texts.draft, ChangeForm), drafts.own_draft(row)
    if kept is None or revision is None:
        return change_page(row, _form_of(report, texts))
    if "preview" not in request.args or not kept.validate():
        return change_page(row, kept)
    kept.version.data, kept.draft_revision.data = str(report.version), str(revision.revision)
    return _preview(row, report, texts, kept)


def _form_of(report: SignedReport, texts: CaseTexts) -> ChangeForm:
    finding = texts.finding or {}
    return ChangeForm(
        formdata=None,
        data={
            "diagnosis": report.diagnosis,
            "diagnosis_text": finding.get("diagnosis_text", ""),
            "icd10_code": report.icd10cm,
            "confidence": report.confidence,
            "image_quality": report.image_quality,
            "plan": report.plan,
            "follow_up_on": report.follow_up_on,
            "clinical_note": finding.get("clinical_note", ""),
            "patient_text": texts.letter or "",
            "gp_text": texts.gp_letter or "",
            "letter_template": report.letter_template or "",
            "letter_marks": f"{text_mark(texts.letter or '')} {text_mark(texts.gp_letter or '')}",
        },
    )


def change_page(row: Submission, form: ChangeForm) -> AnyResponse:
    """The form of a change; what it got wrong stays in it."""
    report = _newest(row)
    audit(AuditAction.CASE_READ, row, detail="to change the report")
    kept = drafts.own_draft(row)
    answer = page(
        "change_report.html",
        form,
        case=shown_case(row, None),
        report={"version": report.version, "signed_at": report.signed_at},
        draft=drafts.offered(kept, shown=kept is not None and request.method == "GET"),
    )
    db.session.commit()
    return answer


def _guarded(row: Submission, form: WrittenForm, go_on: Callable[[], AnyResponse]) -> AnyResponse:
    """Go on, or say which of two tabs or two versions came first; the text is there to copy."""
    try:
        return go_on()
    except (OutdatedDraftError, OutdatedVersionError) as outdated:
        db.session.rollback()
        stale = isinstance(outdated, OutdatedVersionError)
        flash(OUTDATED if stale else drafts.OLDER_TAB, "error")
        answer = (
            change_page(row, form)
            if isinstance(form, ChangeForm)
            else _addendum_page(row, _newest(row), form)
        )
        answer.status_code = 409
        return answer


def _go_on(
    row: Submission, report: SignedReport, texts: CaseTexts, form: ChangeForm
) -> AnyResponse:
    if form.version.data != str(report.version):
        raise OutdatedVersionError
    if wanted("sign") and stepped_up():
        drafts.check_newest(row, form)
        _sign_change(row, report, texts, form)
        return _signed(row)
    keep_for_preview(row, form)
    if wanted("sign"):
        db.session.commit()
        require_step_up(url_for("portal.change_report", case_id=row.id, preview=1))
    return _preview(row, report, texts, form)


def _preview(
    row: Submission, report: SignedReport, texts: CaseTexts, form: ChangeForm
) -> AnyResponse:
    result = review.result_of(db.session(), row.id)
    after = decision_of_form(form)
    before = decision_of_report(report, texts.finding or {}, with_computer=False)
    audit(AuditAction.SIGNING_PREVIEWED, row, detail="change")
    db.session.commit()
    return page(
        "sign_review.html",
        form,
        case=shown_case(row, None),
        action=url_for("portal.change_report", case_id=row.id),
        changes=[
            ("Change", "", dict(CHANGES)[form.status.data]),
            ("Reason", "", dict(CHANGE_REASONS)[form.change_reason.data]),
            *changed_rows(before, after),
            *changed_rows(_letters(texts.letter, texts.gp_letter), _letters_of(form)),
        ],
        decision=after,
        result={"ai_used": result is not None and result.ai_used, **letter_of_form(form)},
        gp_letter=form.gp_text.data or "",
        reading_grade=grade_of(form),
    )


def _letters_of(form: ChangeForm) -> list[tuple[str, str]]:
    return _letters(form.patient_text.data, form.gp_text.data)


def _letters(patient_text: str | None, gp_text: str | None) -> list[tuple[str, str]]:
    """Browsers send line ends of their own: they are no change."""
    named = (("Text to the patient", patient_text), ("Letter to the GP", gp_text))
    return [(name, "\n".join((text or "").strip().splitlines())) for name, text in named]


def _sign_change(row: Submission, report: SignedReport, texts: CaseTexts, form: ChangeForm) -> None:
    report_versions.lock_version(db.session(), row, after=report.version)
    report_versions.retire_texts(db.session(), row.id)
    decision = sealed_decision(
        row,
        form,
        sex=(texts.finding or {}).get("sex", "unknown"),
        agreement=report.agreement,
        override_reason=report.override_reason,
    )
    change = Change(ReportStatus(form.status.data), form.change_reason.data)
    _add_version(row, report, decision, change)


def _add_version(row: Submission, report: SignedReport, decision: Decision, change: Change) -> None:
    """Sign it and tell the patient; the case is held by `lock_version`."""
    added = report_versions.add_version(
        db.session(),
        row,
        signer_id=me().actor.user_id,
        decision=decision,
        change=change,
        after=report.version,
    )
    draft_records.discard(db.session(), row.id)
    tell_patient(row)
    detail = f"version {added.version}, {change.status}, {change.reason}"
    audit(AuditAction.REPORT_CHANGED, row, detail=detail)
    db.session.commit()


def _signed(row: Submission) -> AnyResponse:
    flash("Signed. The patient is told, and sees what changed.")
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.route("/review/<case_id>/addendum", methods=["GET", "POST"])
@allowed(Permission.SEE_QUEUE)
def add_addendum(case_id: str) -> AnyResponse:
    """Something more, signed as a version of its own; all that stood there stays."""
    row, _ = case_for(case_id, Permission.CHANGE_REPORT)
    report = _newest(row)
    texts = case_texts(row, _TEXTS)
    if request.method == "GET":
        kept = drafts.restored(texts.draft, AddendumForm) or AddendumForm(formdata=None)
        return _addendum_page(row, report, kept)
    form = AddendumForm()
    if not form.validate_on_submit():
        return _addendum_page(row, report, form)
    return _guarded(row, form, lambda: _sign_addendum(row, report, texts, form))


def _addendum_page(row: Submission, report: SignedReport, form: WrittenForm) -> AnyResponse:
    audit(AuditAction.CASE_READ, row, detail="to add to the report")
    kept = drafts.own_draft(row)
    answer = page(
        "addendum.html",
        form,
        case=shown_case(row, None),
        report={"version": report.version, "signed_at": report.signed_at},
        draft=drafts.offered(kept, shown=kept is not None and request.method == "GET"),
    )
    db.session.commit()
    return answer


def _sign_addendum(
    row: Submission, report: SignedReport, texts: CaseTexts, form: AddendumForm
) -> AnyResponse:
    if form.version.data != str(report.version):
        raise OutdatedVersionError
    drafts.check_newest(row, form)
    if not stepped_up():
        drafts.keep(row, form)
        db.session.commit()
        require_step_up(url_for("portal.add_addendum", case_id=row.id))
    report_versions.lock_version(db.session(), row, after=report.version)
    report_versions.retire_texts(db.session(), row.id)
    decision = _longer(row, report, texts, form)
    _add_version(row, report, decision, Change(ReportStatus.APPENDED, ADDENDUM))
    return _signed(row)


def _longer(
    row: Submission, report: SignedReport, texts: CaseTexts, form: AddendumForm
) -> Decision:
    """The decision as it stands, its texts sealed anew with the addendum behind them."""
    heading = f"Added on {day_words(database_now(db.session()).date())}:"
    finding: dict[str, Any] = dict(texts.finding or {})
    note = _behind(finding.get("clinical_note", ""), heading, form.clinical_note.data)
    finding["clinical_note"] = note
    letter = _behind(texts.letter or "", heading, form.patient_text.data)
    gp_letter = texts.gp_letter
    return Decision(
        diagnosis=report.diagnosis,
        icd10cm=report.icd10cm,
        confidence=report.confidence,
        image_quality=report.image_quality,
        plan=report.plan,
        agreement=report.agreement,
        override_reason=report.override_reason,
        finding=seal_text(row, ObjectKind.FINDING, json.dumps(finding)),
        letter=seal_text(row, ObjectKind.LETTER, letter),
        gp_letter=seal_text(row, ObjectKind.GP_LETTER, gp_letter) if gp_letter else None,
        letter_template=report.letter_template,
        follow_up_on=report.follow_up_on,
    )


def _behind(before: str, heading: str, more: str | None) -> str:
    added = (more or "").strip()
    return (
        "\n\n".join(part for part in (before, f"{heading}\n{added}") if part) if added else before
    )
