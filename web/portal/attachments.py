"""Files beside a case: sealed as they arrive, and given out as downloads alone.

They go out as bytes of no type with a name of ours, so that no browser shows or runs what a
stranger made (OWASP, File Upload Cheat Sheet).
"""

from typing import Any

from flask import Response, abort, flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission, Role, may
from clinic.attachment import (
    MAX_BYTES,
    MAX_OF_A_CASE,
    AttachmentKind,
    AttachmentRefusedError,
    MediaType,
    media_type_of,
)
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import KeyPurpose
from clinic.records import attachments, sealed_objects
from clinic.records.attachments import NewAttachment
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import Attachment, SealedObject, Submission
from web.database import db
from web.guard import audit, case_for, deny, me, missing
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.desk_forms import ATTACHMENT_KINDS, AttachmentForm
from web.portal.sealing import recipient
from web.portal.wording import reference
from web.services import services

TOO_MANY = f"A case takes {MAX_OF_A_CASE} files. Remove one first."


def shown(row: Submission, *, for_patient: bool = False) -> list[dict[str, Any]]:
    """A case's files as a page lists them; of a patient's page those that are meant for them."""
    found = attachments.of_case(db.session(), row.id)
    return [_line(one) for one in found if one.for_patient or not for_patient]


def _line(one: Attachment) -> dict[str, Any]:
    return {
        "id": one.object_id,
        "kind": dict(ATTACHMENT_KINDS)[one.kind],
        "format": MediaType(one.media_type).extension.upper(),
        "kilobytes": -(-one.size // 1024),
        "for_patient": one.for_patient,
        "added_at": one.added_at,
    }


@portal.post("/review/<case_id>/attachments")
@allowed(Permission.SEE_QUEUE)
def add_attachment(case_id: str) -> AnyResponse:
    row, _ = case_for(case_id, Permission.READ_CASE)
    form = AttachmentForm()
    try:
        new = _received(row, form)
    except AttachmentRefusedError as refused:
        audit(AuditAction.ATTACHMENT_ADDED, row, detail=f"refused {refused.status}", allowed=False)
        db.session.commit()
        flash(refused.message, "error")
        return _back(row)
    added = attachments.add(db.session(), services().blobs, row, new, recipient=recipient())
    audit(AuditAction.ATTACHMENT_ADDED, row, detail=f"{added.kind}, {added.media_type}")
    db.session.commit()
    flash("The file is sealed and stands beside the case.")
    return _back(row)


def _received(row: Submission, form: AttachmentForm) -> NewAttachment:
    file = request.files.get("file")
    if file is None or not file.filename:
        raise AttachmentRefusedError("Choose a file first.")
    if not form.validate_on_submit():
        raise AttachmentRefusedError(next(iter(form.errors.values()))[0])
    if attachments.count(db.session(), row.id) >= MAX_OF_A_CASE:
        raise AttachmentRefusedError(TOO_MANY, 409)
    data = file.stream.read(MAX_BYTES + 1)
    return NewAttachment(
        AttachmentKind(form.kind.data),
        media_type_of(data),
        data,
        for_patient=form.for_patient.data,
        added_by=me().actor.user_id,
    )


@portal.post("/attachments/<object_id>/remove")
@allowed(Permission.SEE_QUEUE)
def remove_attachment(object_id: str) -> AnyResponse:
    """Take a file off an open case; what stands beside a signed report stays."""
    found, row = _attachment(object_id, Permission.READ_CASE)
    if may(me().actor, Permission.CHANGE_REPORT, case_for(row.id, Permission.READ_CASE)[1]):
        audit(AuditAction.ATTACHMENT_REMOVED, row, detail="signed", allowed=False)
        db.session.commit()
        abort(409, "The case is signed: its files stay.")
    body = attachments.remove(db.session(), found)
    audit(AuditAction.ATTACHMENT_REMOVED, row)
    db.session.commit()
    services().blobs.delete(body)
    flash("The file is gone.")
    return _back(row)


@portal.get("/attachments/<object_id>")
@allowed(Permission.ASK_FOR_PICTURES)
def attachment(object_id: str) -> Response:
    """The file as a download, opened by the keeper for this person."""
    patient = me().role is Role.PATIENT
    needed = Permission.SEE_SIGNED_RESULT if patient else Permission.READ_CASE
    found, row = _attachment(object_id, needed)
    if patient and not found.for_patient:
        deny(row, detail="attachment")
    sealed = db.session.get_one(SealedObject, object_id)
    name = f"{reference(row.id)}-{found.kind}.{MediaType(found.media_type).extension}"
    audit(AuditAction.ATTACHMENT_READ, row, detail=found.kind)
    db.session.commit()
    wanted = NewKeyRequest(
        purpose=KeyPurpose.TEXT,
        object_ids=(object_id,),
        recipient_key=b"",
        login_session_id=me().login.id,
        submission_id=row.id,
    )
    file_key = services().keeper.file_keys(wanted)[object_id]
    data = sealed_objects.open_object(sealed, services().blobs, file_key=file_key)
    answer = Response(data, content_type="application/octet-stream")
    answer.headers.set("Content-Disposition", "attachment", filename=name.replace(" ", "-"))
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _attachment(object_id: str, permission: Permission) -> tuple[Attachment, Submission]:
    found = db.session.get(Attachment, object_id)
    if found is None:
        missing("attachment")
    row, _ = case_for(found.submission_id, permission)
    return found, row


def _back(row: Submission) -> AnyResponse:
    return redirect(url_for("portal.review_case", case_id=row.id, _anchor="files"))
