"""Sending a spot: consent, history and photos. Photos arrive sealed, or are sealed here at once."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from flask import (
    Response,
    abort,
    flash,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.consent import FOR_CARE, Purpose
from clinic.container import longest_container
from clinic.due_time import Clock
from clinic.envelope import Context, EnvelopeError, PublicKey, Sealed, parse_container, seal
from clinic.intake import ADULT_AGE, History, StopRule, stop_rules
from clinic.keeper_protocol import ObjectKind
from clinic.photo_limits import PhotoLimits
from clinic.records import consents, keys, sealed_objects, service_clock, submissions
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, Clinic, Submission
from clinic.records.sealed_objects import Place
from clinic.records.submissions import NewSubmission, NotYourSubmissionError
from clinic.records.upload_quota import PHOTOS_PER_DAY, photos_left
from clinic.submission import CaseState
from web.database import db
from web.guard import audit, case_for, deny, me, wants_json
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.forms import CaseForm, PortalForm, RetakePhotosForm
from web.portal.login import page
from web.rate_limits import UPLOADS_PER_ACCOUNT, by_person, limited
from web.services import services

WITHOUT_CARE = (
    "You have not agreed to online care, so nothing can be sent. You can change that on the page "
    "of your account."
)
_ID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class PhotoSlot:
    """One photo that the page asks for; `slot` is bound into the sealed container."""

    view: str
    slot: int
    label: str
    hint: str
    required: bool


@dataclass(frozen=True)
class ReceivedPhoto:
    view: str
    slot: int
    sealed: Sealed
    sealed_by: str


class PhotoProblemError(Exception):
    """A photo cannot be accepted; `view` names its input, `status` is the answer's."""

    def __init__(self, view: str, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.view = view
        self.message = message
        self.status = status


_VIEWS = (
    ("overview", "Photo from further away", "Show where on the body the spot is.", False),
    (
        "close_up",
        "Close-up photo",
        "From about 20 cm away. Put a coin or ruler next to the spot.",
        True,
    ),
    (
        "dermoscopic",
        "Photo through a skin lens",
        "Only if you have a lens for skin photos (dermatoscope).",
        False,
    ),
)

CLINIC_CLOSED = "Your clinic takes no new cases. You can still read what was sent before."
USED_BEFORE = "This form was used before. Please load the page again."
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")


def photo_slots(first: int) -> list[PhotoSlot]:
    return [
        PhotoSlot(view, first + place, label, hint, required)
        for place, (view, label, hint, required) in enumerate(_VIEWS)
    ]


@portal.route("/cases/new", methods=["GET", "POST"])
@allowed(Permission.SEND_SUBMISSION)
@limited(UPLOADS_PER_ACCOUNT, key_func=by_person)
def new_case() -> AnyResponse:
    if db.session.get_one(Clinic, me().actor.clinic_id).closed_at is not None:
        deny(detail="clinic closed", words=CLINIC_CLOSED)
    form = CaseForm()
    submission_id = _submission_id(form.submission_id.data)
    form.submission_id.data = submission_id
    if request.method == "POST":
        earlier = _sent_before(submission_id)
        if earlier is not None:
            return _received(earlier)
    stop = form.stop_at_once() if form.is_submitted() else None
    if stop is not None:
        return _stop_card([stop])
    if not form.validate_on_submit():
        return _ask_again(form, submission_id)
    history = form.history(age=_age(me().login.account))
    stops = stop_rules(history)
    if stops:
        return _stop_card(stops)
    try:
        photos = _received_photos(submission_id, photo_slots(0))
    except PhotoProblemError as problem:
        _audit_refusal(problem)
        return _ask_again(form, submission_id, problem)
    return _received(_store_once(submission_id, history, photos))


@portal.post("/cases/<case_id>/photos")
@allowed(Permission.KEEP_OWN_RECORD)
@limited(UPLOADS_PER_ACCOUNT, key_func=by_person)
def replace_photos(case_id: str) -> AnyResponse:
    """New photos for a case that asked for them."""
    row, _ = case_for(case_id, Permission.REPLACE_PHOTOS)
    form = RetakePhotosForm()
    if row.case_state != CaseState.UNREADABLE:
        audit(AuditAction.STATUS_READ, row, detail="nothing to replace")
        db.session.commit()
        return _received(row)
    if not form.validate_on_submit():
        return _errors_as_json(form, None) if wants_json() else _received(row)
    slots = photo_slots(sealed_objects.next_slot(db.session(), case_id, ObjectKind.PHOTO))
    try:
        photos = _received_photos(case_id, slots)
    except PhotoProblemError as problem:
        _audit_refusal(problem, row)
        return _not_replaced(form, row, problem)
    if not consents.permitted_purposes(db.session(), row.patient_id) >= FOR_CARE:
        deny(row, detail="no consent", words=WITHOUT_CARE)
    submissions.replace_photos(db.session(), row)
    _store_photos(row, photos)
    audit(AuditAction.PHOTOS_REPLACED, row, detail=f"{len(photos)} photos")
    db.session.commit()
    return _received(row)


def _not_replaced(form: PortalForm, row: Submission, problem: PhotoProblemError) -> AnyResponse:
    if wants_json():
        return _errors_as_json(form, problem)
    flash(problem.message, "error")
    return _received(row)


def _submission_id(given: str | None) -> str:
    """The form's own id, which is also the idempotency key; a fresh one for a fresh form."""
    if not given:
        return new_id()
    if not _ID.match(given):
        abort(400, "This form is damaged. Please load the page again.")
    return given


def _sent_before(submission_id: str) -> Submission | None:
    patient_id = me().actor.patient_id or ""
    try:
        return submissions.existing(db.session(), submission_id, patient_id=patient_id)
    except NotYourSubmissionError:
        abort(409, USED_BEFORE)


def _store_once(submission_id: str, history: History, photos: list[ReceivedPhoto]) -> Submission:
    """Store the case; where the same form arrived at the same moment, the case it made."""
    try:
        return _store(submission_id, history, photos)
    except IntegrityError:
        db.session.rollback()
        earlier = _sent_before(submission_id)
        if earlier is None:  # the id is another clinic's
            abort(409, USED_BEFORE)
        return earlier


def _store(submission_id: str, history: History, photos: list[ReceivedPhoto]) -> Submission:
    """Bodies on disk, then row, objects and audit entry in one transaction. No broker call."""
    actor = me().actor
    patient_id = actor.patient_id or ""
    permitted = consents.permitted_purposes(db.session(), patient_id)
    if not permitted >= FOR_CARE:
        deny(detail="no consent", words=WITHOUT_CARE)
    row = submissions.create(
        db.session(),
        NewSubmission(
            submission_id=submission_id,
            patient_id=patient_id,
            clinic_id=actor.clinic_id,
            body_site=history.location.site,
            body_side=history.location.side,
            ai_permitted=Purpose.AI_ASSISTANCE in permitted,
            due_at=_promised(actor.clinic_id),
        ),
    )
    _store_photos(row, photos)
    place = Place(patient_id, submission_id, ObjectKind.HISTORY)
    text = json.dumps(history.to_dict())
    recipient = _recipient()
    sealed_objects.add_text(db.session(), services().blobs, place, text, recipient=recipient)
    audit(AuditAction.SUBMISSION_RECEIVED, row, detail=f"{len(photos)} photos")
    db.session.commit()
    return row


def _store_photos(row: Submission, photos: list[ReceivedPhoto]) -> None:
    for photo in photos:
        place = Place(row.patient_id, row.id, ObjectKind.PHOTO, photo.slot, photo.view)
        sealed_objects.add(
            db.session(), services().blobs, place, photo.sealed, sealed_by=photo.sealed_by
        )


def _recipient() -> PublicKey:
    return keys.sealing_recipient(db.session(), services().root_public_key)


def _promised(clinic_id: str) -> datetime:
    """The routine limit; triage may only bring the date nearer."""
    start = database_now(db.session())
    return service_clock.due(db.session(), clinic_id=clinic_id, clock=Clock.ROUTINE, start=start)


def _age(account: Account) -> int:
    if account.birth_date_sealed is None:
        raise LookupError("A patient's account has no birth date.")
    text = services().account_secrets.unseal(
        account.birth_date_sealed, account_id=account.id, column="birth_date"
    )
    born, today = date.fromisoformat(text), datetime.now(UTC).date()
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _audit_refusal(problem: PhotoProblemError, row: Submission | None = None) -> None:
    detail = f"{problem.view} {problem.status}"
    audit(AuditAction.PHOTOS_REFUSED, row, detail=detail, allowed=False)
    db.session.commit()


def _received_photos(submission_id: str, slots: list[PhotoSlot]) -> list[ReceivedPhoto]:
    photos = list(_each_photo(submission_id, slots))
    if len(photos) > photos_left(db.session(), me().actor.patient_id or ""):
        message = f"You can send {PHOTOS_PER_DAY} photos in 24 hours. Try again tomorrow."
        raise PhotoProblemError(photos[0].view, message, 429)
    return photos


def _each_photo(submission_id: str, slots: list[PhotoSlot]) -> Iterator[ReceivedPhoto]:
    for slot in slots:
        photo = _one_photo(submission_id, slot)
        if photo is None and slot.required:
            raise PhotoProblemError(slot.view, f"Add a photo: {slot.label.lower()}.")
        if photo is not None:
            yield photo


def _one_photo(submission_id: str, slot: PhotoSlot) -> ReceivedPhoto | None:
    context = Context(submission=submission_id, slot=slot.slot, type=ObjectKind.PHOTO)
    sealed = request.files.get(f"sealed_{slot.view}")
    if sealed is not None:
        data = sealed.read()
        _refuse_large(data, longest_container(PhotoLimits().max_bytes), slot.view)
        return ReceivedPhoto(slot.view, slot.slot, _checked(data, context, slot.view), "browser")
    plain = request.files.get(f"photo_{slot.view}")
    if plain is None or not plain.filename:
        return None
    data = plain.read()
    _refuse_large(data, PhotoLimits().max_bytes, slot.view)
    if not data.startswith(_MAGIC):
        message = "This file is not a photo we can use. Send a JPEG, PNG or WebP picture."
        raise PhotoProblemError(slot.view, message)
    return ReceivedPhoto(
        slot.view, slot.slot, seal(data, context=context, recipients=[_recipient()]), "server"
    )


def _refuse_large(data: bytes, limit: int, view: str) -> None:
    if len(data) > limit:
        most = PhotoLimits().max_bytes // 1024**2
        raise PhotoProblemError(view, f"This photo is too large. Send one below {most} MB.", 413)


def _checked(data: bytes, context: Context, view: str) -> Sealed:
    """All that can be checked without a key: grammar, whose it is, and for which clinic key."""
    try:
        sealed = parse_container(data)
    except EnvelopeError as error:
        message = "A photo arrived damaged. Please send it again."
        raise PhotoProblemError(view, message) from error
    if sealed.header.context != context:
        raise PhotoProblemError(view, "A photo belongs to another form. Load the page again.")
    kids = [one.kid for one in sealed.header.recipients]
    if len(kids) != 1 or not keys.epoch_is_usable(db.session(), kids[0]):
        message = "This page was open for too long. Load it again, then choose the photo again."
        raise PhotoProblemError(view, message)
    return sealed


def _received(row: Submission) -> AnyResponse:
    location = url_for("portal.my_case", case_id=row.id)
    if wants_json():
        return Response(json.dumps({"location": location}), 202, content_type="application/json")
    return redirect(location, 303)


def _stop_card(stops: Sequence[StopRule]) -> AnyResponse:
    if wants_json():
        return Response(
            json.dumps(
                {"errors": [{"field": "", "message": f"{stops[0].title}. {stops[0].advice}"}]}
            ),
            422,
            content_type="application/json",
        )
    return Response(render_template("stop_card.html", rules=stops), 422)


def _ask_again(
    form: CaseForm, submission_id: str, problem: PhotoProblemError | None = None
) -> AnyResponse:
    if form.is_submitted() and wants_json():
        return _errors_as_json(form, problem)
    response = page(
        "new_case.html",
        form,
        **upload_context(submission_id, photo_slots(0), problem),
        ai_permitted=consents.permits_computer(db.session(), me().actor.patient_id or ""),
        is_minor=_age(me().login.account) < ADULT_AGE,
    )
    if problem is not None:
        response.status_code = problem.status
    return response


def upload_context(
    submission_id: str, slots: list[PhotoSlot], problem: PhotoProblemError | None = None
) -> dict[str, Any]:
    """What a page with photo inputs needs to seal them in the browser."""
    return {
        "submission_id": submission_id,
        "photo_slots": slots,
        "photo_errors": _photo_errors(problem),
        "epoch_json": keys.current_epoch(db.session()).to_json(),
        "max_megabytes": PhotoLimits().max_bytes // 1024**2,
    }


def _photo_errors(problem: PhotoProblemError | None) -> dict[str, str]:
    return {problem.view: problem.message} if problem else {}


def _errors_as_json(form: PortalForm, problem: PhotoProblemError | None) -> AnyResponse:
    errors = [
        {"field": name, "message": messages[0]}
        for name, messages in form.errors.items()
        if messages
    ]
    errors += [
        {"field": f"photo_{view}", "message": text} for view, text in _photo_errors(problem).items()
    ]
    response = jsonify(errors=errors)
    response.status_code = problem.status if problem else 422
    return response
