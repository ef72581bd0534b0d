"""Showing sealed pictures: the viewer's page asks with its own key, the keeper answers it.

The web process passes ciphertext and HPKE answers on; it cannot open either.
"""

import base64
from typing import Any

from flask import Response, abort, jsonify, request, url_for

from clinic.access import Permission, Role, may
from clinic.audit_event import AuditAction
from clinic.hints import ANSWER_KEY_REQUEST, BrokerDownError
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.records import key_requests, sealed_objects, submissions
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import KeyRequest, SealedObject, Submission
from clinic.submission import ScreeningState
from web.database import db
from web.guard import audit, case_for, me, missing
from web.permission import allowed
from web.portal.blueprint import portal
from web.services import services

PICTURES = frozenset({ObjectKind.PHOTO, ObjectKind.RENDITION, ObjectKind.HEATMAP})
KEEPER_DOWN = "The pictures cannot be opened at the moment. Please try again in a minute."


@portal.post("/cases/<case_id>/grants")
@allowed(Permission.ASK_FOR_PICTURES)
def ask_for_pictures(case_id: str) -> tuple[Response, int]:
    """Ask the keeper to re-wrap this case's pictures to the page's public key.

    With `replaced`, a patient gets the photos too that better ones took the place of.
    """
    patient = me().role is Role.PATIENT
    permission = Permission.SEE_OWN_PHOTOS if patient else Permission.SEE_PHOTOS
    row, _ = case_for(case_id, permission)
    payload = request.get_json(silent=True)
    asked_for = payload if isinstance(payload, dict) else {}
    found = pictures_of(row)
    if patient and asked_for.get("replaced") is True:
        found += sealed_objects.replaced_photos(db.session(), row.id)
    wanted = NewKeyRequest(
        purpose=KeyPurpose.VIEW,
        object_ids=tuple(one.id for one in found),
        recipient_key=_public_key(asked_for.get("public_key")),
        login_session_id=me().login.id,
        submission_id=row.id,
    )
    asked = key_requests.ask(db.session(), wanted)
    audit(AuditAction.KEYS_ASKED, row, detail=f"{len(wanted.object_ids)} pictures")
    db.session.commit()
    try:
        services().hints.send(ANSWER_KEY_REQUEST, asked.id)
    except BrokerDownError:
        abort(503, KEEPER_DOWN)
    url = url_for("portal.pictures", request_id=asked.id)
    return jsonify(grant=asked.id, url=url), 202


@portal.get("/grants/<request_id>")
@allowed(Permission.ASK_FOR_PICTURES)
def pictures(request_id: str) -> tuple[Response, int]:
    """The keeper's answer, once it is there: 202 waiting, 200 with headers, 403 refused."""
    row = key_requests.find(db.session(), request_id)
    if row is None or row.login_session_id != me().login.id:
        missing("answer of the key service")
    if row.state == "refused":
        return jsonify(error="You may not open these pictures."), 403
    if row.answer is None:
        return jsonify(state="waiting"), 202
    return jsonify(objects=[_described(one, header) for one, header in _answered(row)]), 200


@portal.get("/objects/<object_id>")
@allowed(Permission.ASK_FOR_PICTURES)
def sealed_body(object_id: str) -> Response:
    """A picture's ciphertext."""
    row = db.session.get(SealedObject, object_id)
    if row is None or row.submission_id is None or ObjectKind(row.kind) not in PICTURES:
        missing("picture")
    case, _ = case_for(row.submission_id, _needed(ObjectKind(row.kind)))
    body = sealed_objects.ciphertext(row, services().blobs)
    audit(AuditAction.OBJECT_FETCHED, case, detail=row.kind)
    db.session.commit()
    return Response(body, content_type="application/octet-stream")


def _needed(kind: ObjectKind) -> Permission:
    """The heat-map is the computer's view, which no patient may open."""
    if kind is ObjectKind.HEATMAP:
        return Permission.SEE_COMPUTER_VIEW
    return Permission.SEE_OWN_PHOTOS if me().role is Role.PATIENT else Permission.SEE_PHOTOS


def pictures_of(row: Submission) -> list[SealedObject]:
    """What this person may see now: renditions, or the originals where there are none yet."""
    found = sealed_objects.of_submission(db.session(), row.id, [ObjectKind.RENDITION])
    may_see_originals = me().role is Role.PATIENT or row.screening_state == ScreeningState.DEAD
    if not found and may_see_originals:
        found = sealed_objects.of_submission(db.session(), row.id, [ObjectKind.PHOTO])
    if _revealed(row):
        found += sealed_objects.of_submission(db.session(), row.id, [ObjectKind.HEATMAP])
    return found


def _revealed(row: Submission) -> bool:
    return may(me().actor, Permission.SEE_COMPUTER_VIEW, submissions.facts(db.session(), row))


def _public_key(text: object) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != 32:
        abort(400, "The viewer's public key must be 32 bytes in base64.")
    return raw


def _answered(row: KeyRequest) -> list[tuple[SealedObject, str]]:
    answer = row.answer or {}
    rows = [db.session.get(SealedObject, object_id) for object_id in answer]
    found = [one for one in rows if one is not None]
    return [(one, answer[one.id]) for one in sorted(found, key=lambda one: (one.slot, one.kind))]


def _described(row: SealedObject, header: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "type": row.kind,
        "slot": row.slot,
        "view": row.view,
        "replaced": not row.current,
        "header": header,
        "url": url_for("portal.sealed_body", object_id=row.id),
    }
