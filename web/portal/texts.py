"""Opening sealed texts for one page: asked of the keeper, shown once, kept nowhere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from clinic.envelope import EnvelopeError
from clinic.intake import History
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.records import sealed_objects
from clinic.records.keeper_client import KeeperCannotOpenError
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import SealedObject, Submission
from web.database import db
from web.guard import me
from web.services import services

CANNOT_OPEN = (EnvelopeError, KeeperCannotOpenError)


@dataclass(frozen=True)
class Identity:
    family_name: str
    given_name: str
    birth_date: date

    @property
    def full_name(self) -> str:
        return f"{self.given_name} {self.family_name}"


@dataclass(frozen=True)
class CaseTexts:
    """The texts of one case; the finding and the letter exist after signing only.

    `lost` are those that are stored, but damaged: they open no more.
    """

    history: History | None
    identity: Identity | None
    finding: dict[str, Any] | None
    letter: str | None
    retake: str | None = None
    draft: str | None = None
    gp_letter: str | None = None
    lost: frozenset[ObjectKind] = frozenset()


def case_texts(row: Submission, kinds: Sequence[ObjectKind]) -> CaseTexts:
    """Open the texts of these kinds for the signed-in person.

    Raises:
        KeeperUnavailableError, KeeperRefusedError: nothing is shown.

    """
    wanted = [kind for kind in kinds if kind is not ObjectKind.IDENTITY]
    rows = sealed_objects.of_submission(db.session(), row.id, wanted)
    if ObjectKind.IDENTITY in kinds:
        identity = sealed_objects.identity_of(db.session(), row.patient_id)
        rows += [identity] if identity else []
    try:
        return read_texts(open_texts(rows, _wish(row, rows)))
    except CANNOT_OPEN:
        return _texts_that_open(row, rows)


def _texts_that_open(row: Submission, rows: Sequence[SealedObject]) -> CaseTexts:
    """One damaged text must not take the others with it: each is opened alone."""
    opened, lost = dict[ObjectKind, str](), set[ObjectKind]()
    for one in rows:
        try:
            opened |= open_texts([one], _wish(row, [one]))
        except CANNOT_OPEN:
            lost.add(ObjectKind(one.kind))
    return replace(read_texts(opened), lost=frozenset(lost))


def _wish(row: Submission, rows: Sequence[SealedObject]) -> NewKeyRequest:
    return NewKeyRequest(
        purpose=KeyPurpose.TEXT,
        object_ids=tuple(one.id for one in rows),
        recipient_key=b"",
        login_session_id=me().login.id,
        submission_id=row.id,
    )


def open_each(row: Submission, object_ids: Sequence[str]) -> dict[str, str]:
    """The texts of these objects of a case by object; one that is damaged is left out.

    The request's transaction ends here, as in `open_texts`.
    """
    found = [db.session.get_one(SealedObject, one) for one in object_ids]
    db.session.commit()
    if not found:
        return {}
    try:
        file_keys = services().keeper.file_keys(_wish(row, found))
        return {one.id: _opened(one, file_keys[one.id]) for one in found}
    except CANNOT_OPEN:
        if len(found) == 1:
            return {}
        return {name: text for one in object_ids for name, text in open_each(row, [one]).items()}


def open_texts(rows: Sequence[SealedObject], wanted: NewKeyRequest) -> dict[ObjectKind, str]:
    """The texts by kind. The request's transaction ends here: the keeper works in its own."""
    if not rows:
        db.session.commit()
        return {}
    return open_all_texts([(rows, wanted)])[0]


def open_all_texts(
    asked: Sequence[tuple[Sequence[SealedObject], NewKeyRequest]],
) -> list[dict[ObjectKind, str]]:
    """The texts of several requests, none without objects; as `open_texts`, but asked at once."""
    db.session.commit()
    file_keys = services().keeper.all_file_keys([wanted for _, wanted in asked])
    return [
        {ObjectKind(row.kind): _opened(row, keys[row.id]) for row in rows}
        for (rows, _), keys in zip(asked, file_keys, strict=True)
    ]


def _opened(row: SealedObject, file_key: bytes) -> str:
    return sealed_objects.open_object(row, services().blobs, file_key=file_key).decode()


def read_texts(opened: dict[ObjectKind, str]) -> CaseTexts:
    history = opened.get(ObjectKind.HISTORY)
    identity = opened.get(ObjectKind.IDENTITY)
    finding = opened.get(ObjectKind.FINDING)
    return CaseTexts(
        history=History.from_dict(json.loads(history)) if history else None,
        identity=read_identity(identity) if identity else None,
        finding=json.loads(finding) if finding else None,
        letter=opened.get(ObjectKind.LETTER),
        retake=opened.get(ObjectKind.RETAKE),
        draft=opened.get(ObjectKind.DRAFT),
        gp_letter=opened.get(ObjectKind.GP_LETTER),
    )


def write_identity(identity: Identity) -> str:
    return json.dumps(
        {
            "family_name": identity.family_name,
            "given_name": identity.given_name,
            "birth_date": identity.birth_date.isoformat(),
        }
    )


def read_identity(text: str) -> Identity:
    raw = json.loads(text)
    return Identity(raw["family_name"], raw["given_name"], date.fromisoformat(raw["birth_date"]))
