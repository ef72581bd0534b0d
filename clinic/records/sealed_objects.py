"""Sealed objects: the row with the header, the body in the blob store or, for texts, in the row."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.container import TEXT_TYPES
from clinic.envelope import (
    Context,
    EnvelopeError,
    Header,
    PublicKey,
    Sealed,
    body_digest,
    core_digest,
    open_body,
    parse_header,
    seal,
)
from clinic.keeper_protocol import ObjectKind
from clinic.records.blobs import BlobStore
from clinic.records.db import database_now, new_id
from clinic.records.models import SealedObject

_IN_ROW = frozenset(map(ObjectKind, TEXT_TYPES))


@dataclass(frozen=True)
class Place:
    """Whose an object is, what it is, and its bound context. Identity belongs to no submission."""

    patient_id: str
    submission_id: str | None
    kind: ObjectKind
    slot: int = 0
    view: str | None = None

    @property
    def context(self) -> Context:
        return Context(
            submission=self.submission_id or self.patient_id, slot=self.slot, type=self.kind
        )


class AlteredObjectError(EnvelopeError):
    """The stored header or body is not the one that was written at upload."""


def place_of(row: SealedObject) -> Place:
    return Place(row.patient_id, row.submission_id, ObjectKind(row.kind), row.slot, row.view)


def add(
    session: Session, blobs: BlobStore, place: Place, sealed: Sealed, *, sealed_by: str
) -> SealedObject:
    """Store an object. A photo's body is on disk before its row is committed."""
    object_id = new_id()
    in_row = place.kind in _IN_ROW
    if not in_row:
        blobs.put(object_id, sealed.body)
    row = SealedObject(
        id=object_id,
        patient_id=place.patient_id,
        submission_id=place.submission_id,
        kind=place.kind,
        slot=place.slot,
        view=place.view,
        header=sealed.header.to_json(),
        body=sealed.body if in_row else None,
        body_size=len(sealed.body),
        core_sha256=core_digest(sealed.header),
        body_sha256=body_digest(sealed.body),
        sealed_by=sealed_by,
        created_at=database_now(session),
    )
    session.add(row)
    session.flush()
    return row


def add_text(
    session: Session, blobs: BlobStore, place: Place, text: str, *, recipient: PublicKey
) -> SealedObject:
    """Seal a text to the clinic's epoch key and store it."""
    sealed = seal(text.encode(), context=place.context, recipients=[recipient])
    return add(session, blobs, place, sealed, sealed_by="server")


def next_slot(session: Session, submission_id: str, kind: ObjectKind) -> int:
    """The first free slot: every object of a kind has its own, also once others replaced it."""
    query = select(SealedObject.slot).where(
        SealedObject.submission_id == submission_id, SealedObject.kind == kind
    )
    return max(session.scalars(query), default=-1) + 1


def ciphertext(row: SealedObject, blobs: BlobStore) -> bytes:
    """The stored body, after comparing both digests with those of the upload."""
    body = row.body if row.body is not None else blobs.get(row.id)
    if core_digest(parse_header(row.header)) != row.core_sha256:
        raise AlteredObjectError(f"The header of object {row.id} was changed.")
    if body_digest(body) != row.body_sha256:
        raise AlteredObjectError(f"The body of object {row.id} was changed.")
    return body


def open_object(row: SealedObject, blobs: BlobStore, *, file_key: bytes) -> bytes:
    return open_body(
        parse_header(row.header),
        ciphertext(row, blobs),
        file_key=file_key,
        expected=place_of(row).context,
    )


def header_of(row: SealedObject) -> Header:
    return parse_header(row.header)


def of_submission(
    session: Session, submission_id: str, kinds: Iterable[ObjectKind]
) -> list[SealedObject]:
    """The current objects of these kinds, in slot order."""
    return of_submissions(session, [submission_id], kinds)[submission_id]


def of_submissions(
    session: Session, submission_ids: Iterable[str], kinds: Iterable[ObjectKind]
) -> dict[str, list[SealedObject]]:
    """The current objects of these kinds by submission, in slot order, with one query."""
    found: dict[str, list[SealedObject]] = {one: [] for one in submission_ids}
    query = (
        select(SealedObject)
        .where(SealedObject.submission_id.in_(list(found)), SealedObject.current)
        .where(SealedObject.kind.in_(list(kinds)))
    )
    for row in session.scalars(query.order_by(SealedObject.slot)):
        found[row.submission_id or ""].append(row)
    return found


def replaced_photos(session: Session, submission_id: str) -> list[SealedObject]:
    """The photos that others took the place of, in slot order."""
    query = select(SealedObject).where(
        SealedObject.submission_id == submission_id,
        SealedObject.kind == ObjectKind.PHOTO,
        ~SealedObject.current,
    )
    return list(session.scalars(query.order_by(SealedObject.slot)))


def identity_of(session: Session, patient_id: str) -> SealedObject | None:
    """The newest identity of a patient."""
    return identities_of(session, [patient_id]).get(patient_id)


def identities_of(session: Session, patient_ids: Iterable[str]) -> dict[str, SealedObject]:
    """The newest identity of each patient."""
    query = select(SealedObject).where(
        SealedObject.patient_id.in_(list(patient_ids)), SealedObject.kind == ObjectKind.IDENTITY
    )
    return {row.patient_id: row for row in session.scalars(query.order_by(SealedObject.slot))}
