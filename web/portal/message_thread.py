"""A case's messages as both sides see them; the two pages around it differ."""

from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Response as AnyResponse

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.messaging import Refusal, closes_at
from clinic.records import messages
from clinic.records.messages import CannotWriteError
from clinic.records.models import CaseMessage, Submission
from web.database import db
from web.guard import audit, me
from web.portal.desk_colleagues import text_of
from web.portal.forms import PortalForm
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.second_read_view import name_of
from web.portal.texts import open_each
from web.portal.wording import reference, site_words


@dataclass(frozen=True)
class Side:
    """One of the two that write to each other."""

    template: str
    is_patient: bool


PATIENT = Side("my_messages.html", is_patient=True)
READER = Side("case_messages.html", is_patient=False)


def thread(
    row: Submission, side: Side, form: PortalForm, *, status: int | None = None
) -> AnyResponse:
    """The page with all messages; what the other side wrote counts as read from now on."""
    found = messages.of_case(db.session(), row.id)
    end = closes_at(messages.signed_at(db.session(), row))
    refused = messages.refused(db.session(), row)
    messages.mark_read(db.session(), row.id, from_patient=not side.is_patient)
    if status is None and not form.errors:
        audit(AuditAction.MESSAGES_READ, row, detail=f"{len(found)} messages")
    shown = [_plain(one, side) for one in found]
    texts = open_each(row, [one.object_id for one in found])
    for plain, one in zip(shown, found, strict=True):
        plain["text"] = text_of(texts, one.object_id)
    answer = page(
        side.template,
        form,
        case={"id": row.id, "reference": reference(row.id), "site": site_words(row)},
        messages=shown,
        closes_at=end,
        closed=refused is Refusal.CLOSED,
        full=refused is Refusal.FULL,
        waits=not side.is_patient and messages.waits_for_answer(db.session(), row.id),
    )
    answer.status_code = status or answer.status_code
    return answer


def _plain(one: CaseMessage, side: Side) -> dict[str, Any]:
    """Before the texts are opened, since that ends the transaction."""
    return {
        "mine": one.from_patient == side.is_patient,
        "author": "" if one.from_patient else name_of(one.author),
        "sent_at": one.sent_at,
        "new": one.read_at is None and one.from_patient != side.is_patient,
    }


def sent(row: Submission, side: Side, form: Any) -> AnyResponse | None:
    """Store a message; None once it is. What cannot be stored stays in the form."""
    if not form.validate_on_submit():
        audit(AuditAction.REQUEST_REFUSED, row, detail="message", allowed=False)
        return thread(row, side, form)
    sealed = seal_text(row, ObjectKind.MESSAGE, form.message.data)
    try:
        messages.write(db.session(), row, author=me().login.account, sealed=sealed)
    except CannotWriteError as error:
        db.session.rollback()
        detail = f"message: {error.reason}"
        audit(AuditAction.REQUEST_REFUSED, row, detail=detail, allowed=False)
        return thread(row, side, form, status=409)
    audit(AuditAction.MESSAGE_SENT, row)
    db.session.commit()
    return None
