"""Drafts of decisions: one for each case, sealed, replaced by each save, gone once signed.

Two tabs do not overwrite each other: a save names the revision that it knows.
"""

from dataclasses import dataclass

from sqlalchemy import delete, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from clinic.container import MAX_SLOT
from clinic.envelope import PublicKey
from clinic.keeper_protocol import ObjectKind
from clinic.records import sealed_objects
from clinic.records.blobs import BlobStore
from clinic.records.db import database_now
from clinic.records.models import CaseDraft, SealedObject, Submission
from clinic.records.sealed_objects import Place


class OutdatedDraftError(Exception):
    """Another tab has saved since this one read the draft."""


@dataclass(frozen=True)
class Draft:
    """What a reader wrote of a decision, as text; `revision` is the one that its tab knows."""

    reader_id: str
    text: str
    revision: int


def of_reader(session: Session, submission_id: str, *, reader_id: str) -> CaseDraft | None:
    """The draft of a case, if it is this reader's own."""
    row = session.get(CaseDraft, submission_id, populate_existing=True)
    return row if row is not None and row.reader_id == reader_id else None


def save(
    session: Session, blobs: BlobStore, row: Submission, draft: Draft, *, recipient: PublicKey
) -> CaseDraft:
    """Seal the text and put it in the place of the revision before; a first save knows 0.

    Raises:
        OutdatedDraftError: it is not the newest revision that the tab knows; nothing was saved.

    """
    _drop_of_others(session, row.id, draft.reader_id)
    revision = draft.revision + 1
    place = Place(row.patient_id, row.id, ObjectKind.DRAFT, revision % (MAX_SLOT + 1))
    stored = sealed_objects.add_text(session, blobs, place, draft.text, recipient=recipient)
    if draft.revision == 0:
        _insert(session, row, draft, stored)
    else:
        _replace(session, row, draft, stored)
    _delete_objects(session, row.id, but=stored.id)
    return session.get_one(CaseDraft, row.id, populate_existing=True)


def _insert(session: Session, row: Submission, draft: Draft, stored: SealedObject) -> None:
    if session.get(CaseDraft, row.id, populate_existing=True) is not None:
        raise OutdatedDraftError
    session.add(
        CaseDraft(
            submission_id=row.id,
            reader_id=draft.reader_id,
            object_id=stored.id,
            revision=1,
            saved_at=database_now(session),
        )
    )
    try:
        session.flush()
    except IntegrityError as error:  # another tab was first
        raise OutdatedDraftError from error


def _replace(session: Session, row: Submission, draft: Draft, stored: SealedObject) -> None:
    result = session.execute(
        update(CaseDraft)
        .where(CaseDraft.submission_id == row.id, CaseDraft.reader_id == draft.reader_id)
        .where(CaseDraft.revision == draft.revision)
        .values(object_id=stored.id, revision=draft.revision + 1, saved_at=database_now(session)),
        execution_options={"synchronize_session": False},
    )
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker what UPDATE gives
    if result.rowcount != 1:
        raise OutdatedDraftError


def discard(session: Session, submission_id: str) -> None:
    """The draft and its sealed text are gone for good."""
    session.execute(delete(CaseDraft).where(CaseDraft.submission_id == submission_id))
    _delete_objects(session, submission_id)


def _drop_of_others(session: Session, submission_id: str, reader_id: str) -> None:
    """Whoever held the case before has given it up, and a draft is nobody else's to read."""
    session.execute(
        delete(CaseDraft).where(
            CaseDraft.submission_id == submission_id, CaseDraft.reader_id != reader_id
        )
    )


def _delete_objects(session: Session, submission_id: str, *, but: str = "") -> None:
    session.execute(
        delete(SealedObject).where(
            SealedObject.submission_id == submission_id,
            SealedObject.kind == ObjectKind.DRAFT,
            SealedObject.id != but,
        ),
        execution_options={"synchronize_session": False},
    )
