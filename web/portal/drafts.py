"""Drafts: what a reader types is saved sealed as they go, and is there again after a lost page."""

import json
from typing import Any, Final, TypeVar

from flask import abort, flash, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.records import drafts
from clinic.records.drafts import Draft, OutdatedDraftError
from clinic.records.models import CaseDraft, Submission
from web.database import db
from web.guard import audit, case_for, me, wants_json
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.desk_forms import AddendumForm, ChangeForm, DecisionForm, WrittenForm
from web.portal.sealing import recipient
from web.services import services

LONGEST: Final = 30_000  # characters of all fields together
OLDER_TAB: Final = (
    "This page is older than what you wrote in another tab. Nothing was saved or signed here. "
    "Copy what you need from this page, then load it again."
)
TOO_LONG: Final = "This is too long to be saved. Shorten the texts."
_FORMS: Final[dict[str, type[WrittenForm]]] = {
    one.NAME: one for one in (DecisionForm, ChangeForm, AddendumForm)
}
Form = TypeVar("Form", bound=WrittenForm)


@portal.post("/review/<case_id>/draft")
@allowed(Permission.SEE_QUEUE)
def save_draft(case_id: str) -> AnyResponse:
    """Keep what was typed, right or wrong; a script calls this as its person types."""
    row, _ = case_for(case_id, Permission.WRITE_DRAFT)
    form = _FORMS.get(request.form.get("written_as", ""), DecisionForm)()
    try:
        kept = keep(row, form)
    except OutdatedDraftError:
        db.session.rollback()
        abort(409, OLDER_TAB)
    db.session.commit()
    if wants_json():
        return jsonify(revision=kept.revision, saved_at=kept.saved_at.isoformat())
    flash("Your draft is saved.")
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.post("/review/<case_id>/draft/discard")
@allowed(Permission.SEE_QUEUE)
def discard_draft(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.WRITE_DRAFT)
    drafts.discard(db.session(), row.id)
    audit(AuditAction.DRAFT_DISCARDED, row)
    db.session.commit()
    flash("Your draft is gone.")
    return redirect(url_for("portal.review_case", case_id=row.id))


def keep(row: Submission, form: WrittenForm) -> CaseDraft:
    """Save the form as the newest draft, in the caller's transaction.

    A reader's first save of a case goes on record, and its end; those between come every few
    seconds.

    Raises:
        OutdatedDraftError: another tab saved since this form's page was made.

    """
    text = json.dumps({"form": form.NAME, "fields": form.written()})
    if len(text) > LONGEST:
        abort(413, TOO_LONG)
    known = form.known_revision
    draft = Draft(me().actor.user_id, text, _newest(row) if known is None else known)
    kept = drafts.save(db.session(), services().blobs, row, draft, recipient=recipient())
    if kept.revision == 1:
        audit(AuditAction.DRAFT_SAVED, row)
    return kept


def check_newest(row: Submission, form: WrittenForm) -> None:
    """Raise OutdatedDraftError where another tab wrote on since this form's page was made."""
    if form.known_revision not in {None, _newest(row)}:
        raise OutdatedDraftError


def own_draft(row: Submission) -> CaseDraft | None:
    return drafts.of_reader(db.session(), row.id, reader_id=me().actor.user_id)


def _newest(row: Submission) -> int:
    found = own_draft(row)
    return found.revision if found else 0


def restored(text: str | None, form: type[Form]) -> Form | None:
    """The form as its draft has it; None without a draft of this form."""
    written: dict[str, Any] = json.loads(text) if text else {}
    if written.get("form") != form.NAME:
        return None
    return form.from_written(written["fields"])


def offered(found: CaseDraft | None, *, shown: bool) -> dict[str, Any]:
    """What the page says of a draft; `shown` where the form holds what it kept."""
    return {
        "revision": found.revision if found else 0,
        "saved_at": found.saved_at if found and shown else None,
    }
