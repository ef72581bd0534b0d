"""Signed cases at the desk: to find one again, and to pass on or take over who answers for it."""

import re
from typing import Any, Final

from flask import abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission, may
from clinic.audit_event import AuditAction
from clinic.hand_over import HandOverReason
from clinic.records import signed_cases as records
from clinic.records.signed_cases import PAGE_SIZE, Cursor, Keeper, SignedCase
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal import page_cursor
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, ReportHandOverForm
from web.portal.hand_over import not_handed_over, tell_colleague, with_colleagues
from web.portal.second_read_view import name_of
from web.portal.wording import reference, site_words

_REFERENCE: Final = re.compile(r"[0-9a-f]{1,8}\Z")
NOT_KEPT = "You do not answer for this report any more, so it was not handed over."
STILL_KEPT = "Somebody answers for this report. Nothing was changed."


@portal.get("/signed")
@allowed(Permission.SEE_QUEUE)
def signed_list() -> str:
    """What this reader answers for, or what nobody does, or all of the clinic; the newest first."""
    keeper, wanted = _chosen()
    place = page_cursor.asked(back="the signed cases")
    found = records.signed_page(
        db.session(),
        clinic_id=me().actor.clinic_id,
        reader_id=me().actor.user_id,
        keeper=keeper,
        id_prefix=_id_prefix(wanted),
        after=Cursor(*place) if place else None,
    )
    rows = [_row(one) for one in found[:PAGE_SIZE]]
    audit(AuditAction.CASE_LISTED, detail=f"signed, {keeper}, {len(rows)} rows")
    db.session.commit()
    return render_template(
        "signed_list.html",
        rows=rows,
        keeper=keeper,
        wanted=wanted,
        next_cursor=_to_text(found[PAGE_SIZE - 1]) if len(found) > PAGE_SIZE else None,
    )


def _chosen() -> tuple[Keeper, str]:
    try:
        keeper = Keeper(request.args.get("show", Keeper.MINE))
    except ValueError:
        abort(404, "There is no such list. Start again from the signed cases.")
    return keeper, request.args.get("case", "").strip()[:20]


def _id_prefix(wanted: str) -> str:
    """How the ids begin of cases with this reference; nothing has an id of the letter x."""
    digits = wanted.replace("-", "").replace(" ", "").lower()
    return digits if not digits or _REFERENCE.match(digits) else "x"


def _row(one: SignedCase) -> dict[str, Any]:
    return {
        "id": one.submission.id,
        "reference": reference(one.submission.id),
        "site": site_words(one.submission),
        "sent_at": one.submission.received_at,
        "signed_at": one.report.signed_at,
        "version": one.report.version,
        "told": one.submission.told_at is not None,
        "keeper": name_of(one.keeper),
        "mine": one.keeper is not None and one.keeper.id == me().actor.user_id,
    }


def _to_text(last: SignedCase) -> str:
    return page_cursor.to_text([last.submission.received_at, last.submission.id])


@portal.post("/review/<case_id>/report/take-over")
@allowed(Permission.SEE_QUEUE)
def take_over_report(case_id: str) -> AnyResponse:
    """Answer for a signed report that nobody at work answers for."""
    row, facts = case_for(case_id, Permission.SEE_IN_QUEUE)
    if not PortalForm().validate_on_submit():
        abort(400)
    if not may(me().actor, Permission.TAKE_OVER_REPORT, facts) or not records.take_over(
        db.session(), row.id, reader_id=me().actor.user_id
    ):
        db.session.rollback()
        abort(409, STILL_KEPT)
    audit(AuditAction.REPORT_TAKEN_OVER, row)
    db.session.commit()
    flash("You answer for this report now: its changes, its letter and the patient's messages.")
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.post("/review/<case_id>/report/hand-over")
@allowed(Permission.SEE_QUEUE)
def hand_over_report(case_id: str) -> AnyResponse:
    """Let a colleague answer for a signed report."""
    row, _ = case_for(case_id, Permission.CHANGE_REPORT)
    form = with_colleagues(ReportHandOverForm())
    if not form.validate_on_submit():
        return not_handed_over(row, "Choose who answers for the report from now on, and a reason.")
    to_id, reason = form.to.data, HandOverReason(form.reason.data)
    if not records.hand_over(
        db.session(), row, reader_id=me().actor.user_id, to_id=to_id, reason=reason
    ):
        db.session.rollback()
        abort(409, NOT_KEPT)
    audit(AuditAction.CASE_HANDED_OVER, row, detail=f"signed report, {reason}, to {to_id}")
    tell_colleague(to_id)
    db.session.commit()
    flash("The report is handed over.")
    return redirect(url_for("portal.signed_list"))
