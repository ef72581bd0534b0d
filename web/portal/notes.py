"""Notes among the readers of a case: written once, seen by no patient."""

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records import case_notes
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.colleague_forms import NoteForm
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.wording import reference

MOST_OF_A_CASE = 200


@portal.post("/review/<case_id>/notes")
@allowed(Permission.SEE_QUEUE)
def write_note(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.READ_CASE)
    form = NoteForm()
    if not form.validate_on_submit():
        audit(AuditAction.REQUEST_REFUSED, row, detail="note", allowed=False)
        db.session.commit()
        return page("write_note.html", form, case={"id": row.id, "reference": reference(row.id)})
    if len(case_notes.of_case(db.session(), row.id)) >= MOST_OF_A_CASE:
        abort(409, f"A case holds at most {MOST_OF_A_CASE} notes. Nothing was stored.")
    sealed = seal_text(row, ObjectKind.NOTE, form.note.data)
    case_notes.write(db.session(), row, author_id=me().actor.user_id, sealed=sealed)
    audit(AuditAction.NOTE_WRITTEN, row)
    db.session.commit()
    flash("Your note is stored. The patient does not see it.")
    return redirect(url_for("portal.review_case", case_id=row.id, _anchor="notes"))
