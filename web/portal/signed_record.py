"""A signed record at the desk: what stands, what stood before, its files and its pathology."""

import json
from collections.abc import Sequence
from typing import Any

from flask import abort, request
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import CaseFacts, Permission, may
from clinic.audit_event import AuditAction
from clinic.letter import language_of
from clinic.records import pathology, report_versions, review, signed_cases
from clinic.records.models import (
    Account,
    PathologyResult,
    ScreeningResult,
    SignedReport,
    Submission,
)
from clinic.submission import CaseState
from web.database import db
from web.guard import audit, deny, me
from web.portal import attachments, computer_view, desk_colleagues
from web.portal.decision_view import (
    changed_rows,
    decision_of_report,
    pathology_rows,
    version_lines,
)
from web.portal.desk_forms import AttachmentForm
from web.portal.forms import ReportHandOverForm
from web.portal.hand_over import passed_on, with_colleagues
from web.portal.login import page
from web.portal.second_read_view import name_of
from web.portal.shown_case import shown_case
from web.portal.texts import open_each


def signed_record(row: Submission, facts: CaseFacts) -> AnyResponse:
    """The newest version, or the one that the address names, with what it changed."""
    if not may(me().actor, Permission.READ_CASE, facts):
        deny(row, detail=Permission.READ_CASE, words=_who_answers(row))
    reports = report_versions.versions(db.session(), row.id)
    if not reports or row.case_state != CaseState.SIGNED:
        abort(404)
    shown = _shown_version(reports)
    results = pathology.of_case(db.session(), row.id)
    result = review.result_of(db.session(), row.id)
    audit(AuditAction.CASE_READ, row, detail=f"signed record, version {shown.version}")
    near = [one for one in reports if shown.version - 1 <= one.version <= shown.version]
    texts = _opened(row, near, results)
    decisions = [decision_of_report(one, _finding(one, texts)) for one in near]
    return page(
        "signed_case.html",
        AttachmentForm(formdata=None),
        case=shown_case(row, None),
        decision=decisions[-1],
        changes=changed_rows(*decisions) if len(decisions) == 2 else [],
        result=_letter(shown, result, texts),
        gp_letter=texts.get(shown.gp_letter_object_id or "", ""),
        versions=version_lines(reports),
        newest=reports[-1].version,
        computer_line=computer_view.line(result),
        attachments=attachments.shown(row),
        colleagues=desk_colleagues.panel(row, facts),
        hand_over_form=with_colleagues(ReportHandOverForm(formdata=None)),
        passed_on=passed_on(row),
        pathology=[
            pathology_rows(one, texts.get(one.note_object_id or "", ""))
            for one in reversed(results)
        ],
    )


def _who_answers(row: Submission) -> str:
    keeper = signed_cases.keeper_of(db.session(), row)
    if keeper is None:
        return (
            "Nobody answers for this signed case now. Take it over from the list of signed cases, "
            "and open it again."
        )
    return f"{name_of(keeper)} answers for this signed case. Ask them to hand it over to you."


def _shown_version(reports: Sequence[SignedReport]) -> SignedReport:
    asked = request.args.get("version")
    if asked is None:
        return reports[-1]
    found = next((one for one in reports if str(one.version) == asked), None)
    if found is None:
        abort(404)
    return found


def _opened(
    row: Submission, reports: Sequence[SignedReport], results: Sequence[PathologyResult]
) -> dict[str, str]:
    ids = [
        object_id
        for one in reports
        for object_id in (one.finding_object_id, one.letter_object_id, one.gp_letter_object_id)
    ]
    ids += [one.note_object_id for one in results]
    return open_each(row, [one for one in ids if one is not None])


def _finding(report: SignedReport, texts: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(texts.get(report.finding_object_id, "{}"))
    return said


def _letter(
    report: SignedReport, result: ScreeningResult | None, texts: dict[str, str]
) -> dict[str, Any]:
    signer = db.session.get_one(Account, report.signer_id)
    return {
        "plan": report.plan,
        "text": texts.get(report.letter_object_id, ""),
        "language": language_of(report.letter_template),
        "follow_up_on": report.follow_up_on,
        "ai_used": result is not None and result.ai_used,
        "image_quality": report.image_quality,
        "signed_at": report.signed_at,
        "signer_name": f"{signer.given_name} {signer.family_name}",
        "registration_number": signer.registration_number,
        "version": report.version,
        "status": report.status,
    }
