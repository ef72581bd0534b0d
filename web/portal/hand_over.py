"""Holding a case: the page's heartbeat renews the claim, a hand-over passes it on with a reason."""

from typing import Any, TypeVar

from flask import Response, abort, flash, jsonify, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.hand_over import REASON_WORDS, HandOverReason
from clinic.notices import NoticeKind
from clinic.records import dermatologists, hand_overs, notices, review, review_queue
from clinic.records.db import database_now
from clinic.records.models import Account, HandOver, Submission
from clinic.submission import CaseState
from web.database import db
from web.guard import audit, case_for, me
from web.local_clinic import local
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, ReleaseForm

_Form = TypeVar("_Form", bound=ReleaseForm)
NOT_YOURS = (
    "You do not hold this case any more, so it was not handed over. Somebody else may have it."
)


def with_colleagues(form: _Form) -> _Form:
    """The form, with everybody in it to whom this reader can pass a case on."""
    actor = me().actor
    found = dermatologists.of_clinic(db.session(), actor.clinic_id, but=[actor.user_id])
    form.offer([(one.id, f"{one.given_name} {one.family_name}") for one in found])
    return form


def tell_colleague(to_id: str) -> None:
    colleague = db.session.get_one(Account, to_id)
    notices.tell(db.session(), colleague, NoticeKind.CASE_HANDED_OVER)


@portal.post("/review/<case_id>/release")
@allowed(Permission.SEE_QUEUE)
def release_case(case_id: str) -> AnyResponse:
    """Pass the case to a named colleague, or to the pool."""
    row, _ = case_for(case_id, Permission.READ_CASE)
    form = with_colleagues(ReleaseForm())
    if not form.validate_on_submit():
        return not_handed_over(row, "Choose who goes on with the case, and a reason.")
    to_id, reason = form.to.data or None, HandOverReason(form.reason.data)
    if not review_queue.hand_over(
        db.session(), row, reader_id=me().actor.user_id, to_id=to_id, reason=reason
    ):
        db.session.rollback()
        abort(409, NOT_YOURS)
    if to_id is None:
        audit(AuditAction.CASE_RELEASED, row, detail=reason)
    else:
        audit(AuditAction.CASE_HANDED_OVER, row, detail=f"{reason}, to {to_id}")
        tell_colleague(to_id)
    db.session.commit()
    flash("The case is handed over." if to_id else "The case is everybody's again.")
    return redirect(url_for("portal.review_queue"))


def not_handed_over(row: Submission, what_lacks: str) -> AnyResponse:
    """Back to the case, whose form lacked something."""
    audit(AuditAction.REQUEST_REFUSED, row, detail="hand-over without a reason", allowed=False)
    db.session.commit()
    flash(what_lacks, "error")
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.post("/review/<case_id>/claim/renew")
@allowed(Permission.SEE_QUEUE)
def renew_claim(case_id: str) -> Response:
    """The page's heartbeat: its reader is at work. Any other request about the case does the same.

    Nothing of the case is told: no audit entry.
    """
    row, _ = case_for(case_id, Permission.READ_CASE)
    if row.claim_until is None or row.case_state != CaseState.AWAITING_REVIEW:
        abort(409, "This case is closed.")
    left = row.claim_until - database_now(db.session())
    until = local(row.claim_until).strftime("%H:%M")
    db.session.commit()
    return jsonify(until=until, left=int(left.total_seconds()))


@portal.post("/review/<case_id>/letter-posted")
@allowed(Permission.SEE_QUEUE)
def letter_posted(case_id: str) -> AnyResponse:
    """The letter of a signed case was printed and sent: its patient is told."""
    row, facts = case_for(case_id, Permission.READ_CASE)
    if not PortalForm().validate_on_submit():
        abort(400)
    if not facts.signed:
        abort(409, "This case is not signed yet, so there is no letter.")
    review.mark_told(db.session(), row.id)
    audit(AuditAction.LETTER_POSTED, row)
    db.session.commit()
    flash("It is on record that the letter was posted.")
    return redirect(url_for("portal.review_case", case_id=row.id))


def passed_on(row: Submission) -> dict[str, Any] | None:
    """The last hand-over of a case in words, or None."""
    last = hand_overs.last_hand_over(db.session(), row.id)
    if last is None:
        return None
    return {
        "from": _name(last.from_id),
        "to": _name(last.to_id) if last.to_id else None,
        "reason": _reason(last),
        "at": last.at,
    }


def _reason(last: HandOver) -> str:
    return REASON_WORDS[HandOverReason(last.reason)]


def _name(account_id: str) -> str:
    account = db.session.get_one(Account, account_id)
    return f"{account.given_name} {account.family_name}"
