"""Messages at the desk: which wait for an answer, the thread of a case, and who takes it over."""

from typing import Any

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.records import messages
from clinic.records.messages import Waiting
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.colleague_forms import ReplyForm
from web.portal.forms import PortalForm
from web.portal.message_thread import READER, sent, thread
from web.portal.second_read_view import name_of
from web.portal.wording import reference, site_words


@portal.get("/messages")
@allowed(Permission.SEE_QUEUE)
def message_inbox() -> str:
    """Cases whose patient has written what nobody has answered yet."""
    actor = me().actor
    found = messages.inbox(db.session(), clinic_id=actor.clinic_id, reader_id=actor.user_id)
    rows = [_row(one) for one in found]
    audit(AuditAction.MESSAGES_LISTED, detail=f"{len(rows)} cases")
    db.session.commit()
    return render_template("message_inbox.html", rows=rows)


def _row(one: Waiting) -> dict[str, Any]:
    mine = one.reader is not None and one.reader.id == me().actor.user_id
    return {
        "id": one.case.id,
        "reference": reference(one.case.id),
        "site": site_words(one.case),
        "count": one.count,
        "since": one.since,
        "answer_by": one.answer_by,
        "reader": name_of(one.reader),
        "mine": mine,
        "can_take": one.can_take,
    }


@portal.get("/review/<case_id>/messages")
@allowed(Permission.SEE_QUEUE)
def case_messages(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.EXCHANGE_MESSAGES)
    return thread(row, READER, ReplyForm(formdata=None))


@portal.post("/review/<case_id>/messages")
@allowed(Permission.SEE_QUEUE)
def send_case_message(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.EXCHANGE_MESSAGES)
    refused = sent(row, READER, ReplyForm())
    if refused is not None:
        return refused
    flash("Your message is sent. The patient gets a mail without its words.")
    return redirect(url_for("portal.case_messages", case_id=row.id))


@portal.post("/review/<case_id>/messages/no-answer")
@allowed(Permission.SEE_QUEUE)
def need_no_answer(case_id: str) -> AnyResponse:
    """What the reader has read needs no answer; what comes later waits again."""
    row, _ = case_for(case_id, Permission.EXCHANGE_MESSAGES)
    if not PortalForm().validate_on_submit():
        abort(400)
    if not messages.need_no_answer(db.session(), row.id):
        db.session.rollback()
        abort(409, "No message that was read waits for an answer. Open the conversation again.")
    audit(AuditAction.MESSAGES_NEED_NO_ANSWER, row)
    db.session.commit()
    flash("The messages are off the list. The patient can write again.")
    return redirect(url_for("portal.message_inbox"))


@portal.post("/review/<case_id>/messages/take")
@allowed(Permission.SEE_QUEUE)
def take_messages(case_id: str) -> AnyResponse:
    """Answer in place of a reader who does not, or where there is none."""
    row, _ = case_for(case_id, Permission.SEE_IN_QUEUE)
    if not messages.take_over(db.session(), row, reader_id=me().actor.user_id):
        db.session.rollback()
        abort(409, "Another reader is to answer this patient, and still has time.")
    audit(AuditAction.MESSAGES_TAKEN_OVER, row)
    db.session.commit()
    return redirect(url_for("portal.case_messages", case_id=row.id))
