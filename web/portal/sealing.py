"""Sealing what a person wrote about a case, with the clinic's public key alone."""

from clinic.envelope import PublicKey
from clinic.keeper_protocol import ObjectKind
from clinic.records import keys, sealed_objects
from clinic.records.case_lock import lock_case
from clinic.records.models import SealedObject, Submission
from clinic.records.sealed_objects import Place
from web.database import db
from web.services import services


def recipient() -> PublicKey:
    return keys.sealing_recipient(db.session(), services().root_public_key)


def seal_text(row: Submission, kind: ObjectKind, text: str) -> SealedObject:
    """Store a text of a case in the next slot of its kind, in the caller's transaction."""
    lock_case(db.session(), row.id)
    slot = sealed_objects.next_slot(db.session(), row.id, kind)
    place = Place(row.patient_id, row.id, kind, slot)
    return sealed_objects.add_text(
        db.session(), services().blobs, place, text, recipient=recipient()
    )
