"""How a claim ends: with a result, a retake, given back or given up; each is one transaction."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import Sealed, seal
from clinic.keeper_protocol import ObjectKind
from clinic.records import screening_queue, sealed_objects
from clinic.records.db import DATABASE_AWAY
from clinic.records.screening_queue import Claim
from clinic.records.sealed_objects import Place
from clinic.submission import longest_pause
from worker.analysis import Analysis
from worker.finding import finding_of
from worker.opening import CleanPhoto, OpenedCase, computer_may
from worker.services import ScreeningServices

ACTOR: Final = "worker"
ASK_DATABASE_EVERY_SECONDS: Final = 1.0
# The first heat-map of a photo has the photo's slot. The next ones stand as far above it: however
# often photos are replaced, their own slots stay below.
NEXT_MAP_SLOTS: Final = 500


def save(services: ScreeningServices, case: OpenedCase, analysis: Analysis | None) -> None:
    """Seal the pictures and write the result, unless another worker has the case by now.

    What the computer said is thrown away if the patient took the consent back meanwhile.
    """
    held = case.held
    with case.watch.stage("seal"):
        objects = _sealed_pictures(case, analysis)
    view, seconds = case.chosen.view, case.watch.seconds

    def write(session: Session) -> None:
        used = analysis if computer_may(session, held) else None
        finding = finding_of(services.analyst, case.history, used, view=view, seconds=seconds)
        if not screening_queue.finish(session, held, finding):
            return
        for place, sealed in objects:
            if place.kind is ObjectKind.HEATMAP and used is None:
                continue
            sealed_objects.add(session, services.blobs, place, sealed, sealed_by="worker")
        detail = f"attempt {held.attempt}, urgency {finding.urgency}"
        _audit(services, session, held, AuditAction.SUBMISSION_SCREENED, detail)

    _patiently(services, write)


def ask_for_retake(services: ScreeningServices, held: Claim, reason: str) -> None:
    def write(session: Session) -> None:
        if screening_queue.ask_for_retake(session, held, reason):
            _audit(services, session, held, AuditAction.RETAKE_REQUESTED, "photo not usable")

    _patiently(services, write)


def give_back(services: ScreeningServices, held: Claim, *, reason: str, spent: bool) -> None:
    """After a fault: queue it again after a pause. A fault outside the item spends no attempt."""
    pause = longest_pause(held.attempt) * services.share()

    def write(session: Session) -> None:
        if screening_queue.give_back(session, held, reason=reason, delay=pause, spent=spent):
            _audit(services, session, held, AuditAction.SCREENING_FAILED, reason)

    _patiently(services, write)


def put_back(services: ScreeningServices, held: Claim) -> None:
    """Untouched, for whoever comes next: nothing failed with this case."""

    def write(session: Session) -> None:
        reason, now = "the worker stopped before its turn", timedelta(0)
        screening_queue.give_back(session, held, reason=reason, delay=now, spent=False)

    _patiently(services, write)


def give_up(services: ScreeningServices, held: Claim, *, reason: str) -> None:
    def write(session: Session) -> None:
        if screening_queue.give_up(session, held, reason=reason):
            _audit(services, session, held, AuditAction.SCREENING_GIVEN_UP, reason)

    _patiently(services, write)


def _patiently(services: ScreeningServices, write: Callable[[Session], None]) -> None:
    """Write in one transaction; a database that is away is waited for as long as a lease lasts.

    A write whose answer was lost is harmless to repeat: it finds the claim ended.
    """
    give_up_at = time.monotonic() + services.lease.total_seconds()
    while True:
        try:
            with services.sessions() as session, session.begin():
                return write(session)
        except DATABASE_AWAY:
            if time.monotonic() >= give_up_at:
                raise
        time.sleep(ASK_DATABASE_EVERY_SECONDS)


def _sealed_pictures(case: OpenedCase, analysis: Analysis | None) -> list[tuple[Place, Sealed]]:
    pictures = [
        (ObjectKind.RENDITION, photo, photo.slot, photo.rendition.data) for photo in case.photos
    ]
    maps = analysis.maps if analysis is not None else ()
    pictures += [
        (ObjectKind.HEATMAP, case.chosen, case.chosen.slot + rank * NEXT_MAP_SLOTS, one.png)
        for rank, one in enumerate(maps)
    ]
    return [_sealed(case, *picture) for picture in pictures]


def _sealed(
    case: OpenedCase, kind: ObjectKind, of: CleanPhoto, slot: int, data: bytes
) -> tuple[Place, Sealed]:
    """Seal a picture that was made from a photo: it keeps the photo's view."""
    place = Place(case.held.patient_id, case.held.submission_id, kind, slot, of.view)
    return place, seal(data, context=place.context, recipients=[case.recipient])


def _audit(
    services: ScreeningServices, session: Session, held: Claim, action: AuditAction, detail: str
) -> None:
    services.auditor.record(
        session,
        action,
        ACTOR,
        clinic_id=held.clinic_id,
        patient_id=held.patient_id,
        submission_id=held.submission_id,
        detail=detail,
    )
