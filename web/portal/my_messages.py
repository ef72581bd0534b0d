"""The patient's messages about an own case."""

from flask import flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from web.guard import case_for
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.colleague_forms import MessageForm
from web.portal.message_thread import PATIENT, sent, thread
from web.rate_limits import MESSAGES_PER_ACCOUNT, by_person, limited


@portal.get("/cases/<case_id>/messages")
@allowed(Permission.KEEP_OWN_RECORD)
def my_messages(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.EXCHANGE_MESSAGES)
    return thread(row, PATIENT, MessageForm(formdata=None))


@portal.post("/cases/<case_id>/messages")
@allowed(Permission.KEEP_OWN_RECORD)
@limited(MESSAGES_PER_ACCOUNT, key_func=by_person)
def send_my_message(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.EXCHANGE_MESSAGES)
    refused = sent(row, PATIENT, MessageForm())
    if refused is not None:
        return refused
    flash("Your message is sent. We answer in 2 working days.")
    return redirect(url_for("portal.my_messages", case_id=row.id))
