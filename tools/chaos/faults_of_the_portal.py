"""Faults at the portal: it dies in the middle of an upload, clients send twice, storms arrive."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import httpx
from sqlalchemy import func, select

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records.models import AuditEntry, SealedObject
from tools.chaos.canary import PASSWORD
from tools.chaos.fault import Fault
from tools.chaos.injected.sudden_end import Point
from tools.chaos.injection import injected
from tools.chaos.scene import Scene, Sending
from tools.portal_client import PortalClient, SealedCase, csrf_token
from worker.retention import Retention

TWINS = 20
STORM = 50
UPLOADS_PER_MINUTE = 20  # of web/rate_limits.py
LONG_AGO_SECONDS = 24 * 3600.0
BACK_SECONDS = 60.0
SLOWEST_SECONDS = 15.0
T = TypeVar("T")


def end_portal_after_body(scene: Scene) -> None:
    before = _bodies_without_row(scene)
    _end_portal(scene, Point.BODY_STORED)
    orphans = _bodies_without_row(scene) - before
    scene.must(len(orphans) == 1, f"{len(orphans)} bodies have no row, and not one.")
    _make_old(scene, *orphans)
    parts = scene.installation
    swept = Retention(scene.sessions, parts.blobs(), parts.auditor()).apply()
    scene.must(swept["orphaned bodies"] == 1, f"Retention swept {swept}, and not one body.")


def end_portal_before_answer(scene: Scene) -> None:
    _end_portal(scene, Point.COMMITTED)


def _end_portal(scene: Scene, point: Point) -> None:
    """One upload meets the end of the portal; the same form, sent again, is one case."""
    loaded = scene.installation.folder / "injected" / "loaded"
    with injected(scene, "web", "sudden_end", point.value, str(loaded)):
        patient, form = scene.form()
        loaded.touch()
        lost = _post(scene, patient, form)
        scene.must(lost.status is None, f"The portal lived and answered {lost.status}.")
        scene.until(
            lambda: _post(scene, patient, form).status == httpx.codes.ACCEPTED,
            BACK_SECONDS,
            what="the form was not accepted when sent again",
        )
    _received_once(scene, form.submission_id)


def _post(scene: Scene, patient: PortalClient, form: SealedCase) -> Sending:
    try:
        return scene.post(patient, form)
    except httpx.TransportError:
        return Sending(0.0, None)


def _bodies_without_row(scene: Scene) -> set[str]:
    stored = set(scene.installation.blobs().ids(older_than=time.time() + 1))
    with scene.sessions() as session:
        return stored - set(session.scalars(select(SealedObject.id)))


def _make_old(scene: Scene, object_id: str) -> None:
    """As if it had been stored long ago: only then can no upload be under way."""
    long_ago = time.time() - LONG_AGO_SECONDS
    for path in (scene.installation.folder / "blobs").rglob(object_id):
        os.utime(path, (long_ago, long_ago))


def send_twenty_times(scene: Scene) -> None:
    """The same form from twenty threads at the same moment: a client that does not wait."""
    patient = scene.newcomer()
    form = scene.form_of(patient)
    answers = _all_at_once([partial(scene.post, patient, form)] * TWINS)
    statuses = Counter(one.status for one in answers)
    scene.must(statuses == {httpx.codes.ACCEPTED: TWINS}, f"They were answered {statuses}.")
    _received_once(scene, form.submission_id)


def _received_once(scene: Scene, case_id: str) -> None:
    query = select(func.count()).select_from(AuditEntry)
    query = query.where(AuditEntry.submission_id == case_id)
    received = query.where(AuditEntry.action == AuditAction.SUBMISSION_RECEIVED)
    photos = select(func.count()).select_from(SealedObject)
    photos = photos.where(SealedObject.submission_id == case_id)
    photos = photos.where(SealedObject.kind == ObjectKind.PHOTO)
    with scene.sessions() as session:
        counts = {"received": session.scalar(received), "photos": session.scalar(photos)}
    scene.must(counts == {"received": 1, "photos": 1}, f"A form sent again counts {counts}.")


def storm_the_sign_in(scene: Scene) -> None:
    """Fifty wrong passwords at once from one address."""
    with httpx.Client(base_url=scene.installation.base_url, timeout=60, trust_env=False) as guest:
        token = csrf_token(guest.get("/sign-in").text)
        fields = {"email": "nobody@chaos.invalid", "password": PASSWORD, "csrf_token": token}
        answers = _all_at_once([partial(guest.post, "/sign-in", data=fields)] * STORM)
    _storm_was_held_off(scene, [one.status_code for one in answers])
    _others_are_served(scene)


def storm_the_uploads(scene: Scene) -> None:
    """Fifty cases at once from one account."""
    patient = scene.newcomer()
    forms = [scene.form_of(patient) for _ in range(STORM)]
    answers = _all_at_once([partial(scene.post, patient, form) for form in forms])
    _storm_was_held_off(scene, [one.status for one in answers])
    accepted = sum(one.status == httpx.codes.ACCEPTED for one in answers)
    scene.must(accepted <= UPLOADS_PER_MINUTE, f"{accepted} cases of one account were accepted.")
    _others_are_served(scene)


def _all_at_once(calls: list[Callable[[], T]]) -> list[T]:
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def _storm_was_held_off(scene: Scene, statuses: Iterable[int | None]) -> None:
    counts = Counter(statuses)
    refused = counts[httpx.codes.TOO_MANY_REQUESTS]
    scene.must(refused >= STORM - UPLOADS_PER_MINUTE - 10, f"A storm was answered {counts}.")
    failed = [one for one in counts if one is None or one >= httpx.codes.INTERNAL_SERVER_ERROR]
    scene.must(not failed, f"A storm made the portal fail: {counts}.")


def _others_are_served(scene: Scene) -> None:
    """Other people's cases are taken soon, and the page of the queue opens."""
    scene.submit(2)
    slowest = max(one.seconds for one in scene.sendings[-2:])
    scene.must(slowest < SLOWEST_SECONDS, f"Another patient waited {slowest:.1f} s.")
    scene.desk.get("/review")


FAULTS = (
    Fault(
        11,
        "portal ends between photo and row",
        "the same form, sent again, is one case; the photo without a row is swept",
        end_portal_after_body,
        load_every=None,
    ),
    Fault(
        11,
        "portal ends before its answer",
        "the same form, sent again, is one case",
        end_portal_before_answer,
        load_every=None,
    ),
    Fault(12, "form sent twenty times at once", "one case", send_twenty_times),
    Fault(
        29,
        "storm of sign-ins",
        "the storm is answered 429; others are served",
        storm_the_sign_in,
    ),
    Fault(
        29,
        "storm of uploads",
        "the storm is answered 429; others are served",
        storm_the_uploads,
        recover_seconds=180.0,
    ),
)
