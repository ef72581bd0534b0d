"""Files that a reader puts beside a case: a row for each, the bytes sealed in the blob store."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from clinic.attachment import AttachmentKind, MediaType
from clinic.envelope import PublicKey, seal
from clinic.keeper_protocol import ObjectKind
from clinic.records import sealed_objects
from clinic.records.blobs import BlobStore
from clinic.records.db import database_now
from clinic.records.models import Attachment, SealedObject, Submission
from clinic.records.sealed_objects import Place


@dataclass(frozen=True)
class NewAttachment:
    kind: AttachmentKind
    media_type: MediaType
    data: bytes
    for_patient: bool
    added_by: str


def add(
    session: Session, blobs: BlobStore, row: Submission, new: NewAttachment, *, recipient: PublicKey
) -> Attachment:
    """Seal the file to the clinic's epoch key and store it. The caller has checked it."""
    slot = sealed_objects.next_slot(session, row.id, ObjectKind.ATTACHMENT)
    place = Place(row.patient_id, row.id, ObjectKind.ATTACHMENT, slot)
    sealed = seal(new.data, context=place.context, recipients=[recipient])
    stored = sealed_objects.add(session, blobs, place, sealed, sealed_by="server")
    attachment = Attachment(
        object_id=stored.id,
        submission_id=row.id,
        kind=new.kind,
        media_type=new.media_type,
        size=len(new.data),
        for_patient=new.for_patient,
        added_by=new.added_by,
        added_at=database_now(session),
    )
    session.add(attachment)
    session.flush()
    return attachment


def of_case(session: Session, submission_id: str) -> Sequence[Attachment]:
    """A case's files, oldest first."""
    query = select(Attachment).where(Attachment.submission_id == submission_id)
    return session.scalars(query.order_by(Attachment.added_at, Attachment.object_id)).all()


def count(session: Session, submission_id: str) -> int:
    query = select(func.count()).where(Attachment.submission_id == submission_id)
    return session.scalar(query) or 0


def remove(session: Session, attachment: Attachment) -> str:
    """Take a file off its case; the id of the body that the caller deletes after its commit."""
    object_id = attachment.object_id
    session.execute(delete(Attachment).where(Attachment.object_id == object_id))
    session.execute(delete(SealedObject).where(SealedObject.id == object_id))
    session.expire_all()
    return object_id
