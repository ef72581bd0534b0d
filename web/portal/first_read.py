"""The blind first read at the desk: stored before the computer's view is shown."""

from flask import redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.records import first_reads
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.first_read_form import FirstReadForm
from web.portal.review_case import desk


@portal.post("/review/<case_id>/first-read")
@allowed(Permission.SEE_QUEUE)
def record_first_read(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.READ_CASE)
    form = FirstReadForm()
    if not form.validate_on_submit():
        return desk(row, facts, first_read_form=form)
    first_reads.record(db.session(), row.id, reader_id=me().actor.user_id, blind=form.read())
    audit(AuditAction.FIRST_READ_RECORDED, row)
    db.session.commit()
    return redirect(url_for("portal.review_case", case_id=row.id))
