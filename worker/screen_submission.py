"""The one use case of the worker: claim, open, clean, analyse, explain, triage, seal, save.

Known bad input is a state with a reason. A fault outside the item gives the attempt back. Any
other fault puts the item back with a reason and is raised again.
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import EnvelopeError, PublicKey, Sealed, seal
from clinic.intake import History, seven_point_score, urgent_reasons, urgent_route
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.photo import PhotoRejected, Rendition
from clinic.records import keys, screening_queue, sealed_objects
from clinic.records.audit_log import Auditor
from clinic.records.blobs import BlobStore, MissingBlobError
from clinic.records.db import SessionFactory
from clinic.records.keeper_client import (
    KeeperCannotOpenError,
    KeeperClient,
    KeeperUnavailableError,
)
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import SealedObject
from clinic.records.screening_queue import Claim, Finding
from clinic.records.sealed_objects import Place
from clinic.urgency import place_of
from ml.prediction import Prediction
from ml.quality_flag import FLAG_WORDS, QualityFlag
from ml.triage import Triage
from worker.heartbeat import heartbeat

ACTOR = "worker"
KEEPER_DELAY = timedelta(seconds=5)
RETRY_DELAY = timedelta(seconds=2)
LONGEST_DRAIN_SECONDS = 120.0
AI_REFUSED = "AI unavailable: the patient refused it"

# The views that the ensemble may judge, best first: it was trained on dermoscopic close views.
ANALYSED_VIEWS = ("dermoscopic", "close_up", "overview")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Analysis:
    """What the ensemble says about one photo; the heat-map is a PNG overlay of the same size."""

    prediction: Prediction
    explained_class: str
    quality_flags: tuple[QualityFlag, ...]
    heatmap_png: bytes = field(repr=False)


class Analyst(Protocol):
    """The ensemble with its triage policy; worker.analyst is the real one."""

    @property
    def version(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...

    def analyse(self, pixels: Pixels) -> Analysis: ...

    def triage(self, analysis: Analysis | None, *, score: int, strong_concern: bool) -> Triage: ...


Decode = Callable[[bytes], Rendition]


@dataclass(frozen=True)
class ScreeningServices:
    """The parts that screening works with; the factory builds them once for each process."""

    sessions: SessionFactory
    blobs: BlobStore
    keeper: KeeperClient
    auditor: Auditor
    decode: Decode
    analyst: Analyst
    root_public_key: bytes
    lease: timedelta


@dataclass
class Stopwatch:
    """Seconds for each stage of one case."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 4)


@dataclass(frozen=True)
class OpenedPhoto:
    view: str
    slot: int
    data: bytes


@dataclass(frozen=True)
class CleanPhoto:
    view: str
    slot: int
    rendition: Rendition


@dataclass(frozen=True)
class OpenedCase:
    history: History
    photos: tuple[OpenedPhoto, ...]


@dataclass(frozen=True)
class Screened:
    """Everything that will be written, ready before the transaction begins."""

    finding: Finding
    objects: tuple[tuple[Place, Sealed], ...]


class PhotoUnusableError(Exception):
    """Known bad input; the text tells the patient what to do."""


def screen(services: ScreeningServices, hint: str | None) -> int:
    """Work until nothing is due: the hinted submission first. Return how many were handled.

    A long queue is left after a while, well inside the task's time limit: the limit would strike
    in the middle of a case and cost it an attempt. The next hint goes on.
    """
    handled, stop_at = 0, time.monotonic() + LONGEST_DRAIN_SECONDS
    while time.monotonic() < stop_at and (held := _claim(services, hint)) is not None:
        screen_one(services, held)
        handled += 1
    return handled


def _claim(services: ScreeningServices, hint: str | None) -> Claim | None:
    with services.sessions() as session, session.begin():
        return screening_queue.claim(session, hint=hint, lease=services.lease)


def screen_one(services: ScreeningServices, held: Claim) -> None:
    try:
        with heartbeat(services.sessions, held, services.lease):
            screened = _examine(services, held)
    except PhotoUnusableError as known:
        _ask_for_retake(services, held, str(known))
    except (KeeperUnavailableError, keys.NoEpochKeyError) as outside:
        _give_back(services, held, reason=str(outside), delay=KEEPER_DELAY, spent=False)
    except OperationalError:
        reason = "the database was away"
        _give_back(services, held, reason=reason, delay=RETRY_DELAY, spent=False)
        raise
    except Exception as fault:
        reason = f"{type(fault).__name__}"
        _give_back(services, held, reason=reason, delay=RETRY_DELAY, spent=True)
        raise
    else:
        _save(services, held, screened)


def _examine(services: ScreeningServices, held: Claim) -> Screened:
    watch = Stopwatch()
    with services.sessions() as session, session.begin():
        recipient = keys.sealing_recipient(session, services.root_public_key)
    with watch.stage("open"):
        case = _open(services, held)
    with watch.stage("decode"):
        clean = [_clean(services, photo) for photo in case.photos]
    chosen = min(clean, key=lambda photo: ANALYSED_VIEWS.index(photo.view))
    analysis = None
    with watch.stage("analyse"):
        if held.ai_permitted:
            analysis = services.analyst.analyse(_pixels(chosen.rendition))
    with watch.stage("seal"):
        pictures = [(ObjectKind.RENDITION, photo, photo.rendition.data) for photo in clean]
        if analysis is not None:
            pictures.append((ObjectKind.HEATMAP, chosen, analysis.heatmap_png))
        objects = [_sealed(held, kind, of, data, recipient) for kind, of, data in pictures]
    finding = _finding(services.analyst, case.history, analysis, chosen.view, watch.seconds)
    return Screened(finding, tuple(objects))


def _open(services: ScreeningServices, held: Claim) -> OpenedCase:
    with services.sessions() as session:
        rows = sealed_objects.of_submission(
            session, held.submission_id, [ObjectKind.PHOTO, ObjectKind.HISTORY]
        )
    wanted = NewKeyRequest(
        purpose=KeyPurpose.SCREENING,
        object_ids=tuple(row.id for row in rows),
        recipient_key=b"",
        submission_id=held.submission_id,
        token=held.token,
    )
    try:
        file_keys = services.keeper.file_keys(wanted)
        opened = {
            row.id: sealed_objects.open_object(row, services.blobs, file_key=file_keys[row.id])
            for row in rows
        }
    except (EnvelopeError, MissingBlobError, KeeperCannotOpenError) as error:
        raise PhotoUnusableError(_DAMAGED) from error
    return _case(rows, opened)


def _case(rows: Sequence[SealedObject], opened: dict[str, bytes]) -> OpenedCase:
    history = next(row for row in rows if row.kind == ObjectKind.HISTORY)
    photos = tuple(
        OpenedPhoto(row.view or "close_up", row.slot, opened[row.id])
        for row in rows
        if row.kind == ObjectKind.PHOTO
    )
    return OpenedCase(History.from_dict(json.loads(opened[history.id])), photos)


_DAMAGED = "A photo arrived damaged and could not be opened. Please take it again and send it."

_VIEW_NAMES = {
    "overview": "photo from further away",
    "close_up": "close-up photo",
    "dermoscopic": "photo through the skin lens",
}


def _clean(services: ScreeningServices, photo: OpenedPhoto) -> CleanPhoto:
    try:
        rendition = services.decode(photo.data)
    except PhotoRejected as rejected:
        raise PhotoUnusableError(
            f"Your {_VIEW_NAMES[photo.view]}: {rejected.reason.sentence}"
        ) from rejected
    return CleanPhoto(photo.view, photo.slot, rendition)


def _pixels(rendition: Rendition) -> Pixels:
    with Image.open(io.BytesIO(rendition.data)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _sealed(
    held: Claim, kind: ObjectKind, of: CleanPhoto, data: bytes, recipient: PublicKey
) -> tuple[Place, Sealed]:
    """Seal a picture that was made from a photo: it keeps the photo's slot and view."""
    place = Place(held.patient_id, held.submission_id, kind, of.slot, of.view)
    return place, seal(data, context=place.context, recipients=[recipient])


def _finding(
    analyst: Analyst,
    history: History,
    analysis: Analysis | None,
    view: str,
    seconds: dict[str, float],
) -> Finding:
    score = seven_point_score(history.seven_point)
    triage = analyst.triage(analysis, score=score, strong_concern=urgent_route(history))
    common = Finding(
        ai_used=False,
        urgency=place_of(triage.urgency),
        reasons=triage.reasons,
        rule_reasons=_rule_reasons(history, analysis),
        quality_flags=(),
        stage_seconds=seconds,
        seven_point_score=score,
    )
    return common if analysis is None else _with_analysis(common, analyst, analysis, view)


def _rule_reasons(history: History, analysis: Analysis | None) -> tuple[str, ...]:
    """What the rules say without the ensemble's classes; without an analysis that is said too."""
    if analysis is None:
        return (*urgent_reasons(history), AI_REFUSED)
    return (*urgent_reasons(history), *(FLAG_WORDS[flag] for flag in analysis.quality_flags))


def _with_analysis(common: Finding, analyst: Analyst, analysis: Analysis, view: str) -> Finding:
    prediction = analysis.prediction
    return replace(
        common,
        ai_used=True,
        quality_flags=tuple(str(flag) for flag in analysis.quality_flags),
        probabilities=dict(prediction.probabilities),
        members={name: dict(values) for name, values in prediction.members.items()},
        spread=prediction.spread,
        prediction_sets={level: list(names) for level, names in prediction.sets.items()},
        outlier_score=prediction.outlier_score,
        explained_class=analysis.explained_class,
        analysed_view=view,
        model_version=analyst.version,
        model_fingerprint=analyst.fingerprint,
    )


def _save(services: ScreeningServices, held: Claim, screened: Screened) -> None:
    with services.sessions() as session, session.begin():
        if not screening_queue.finish(session, held, screened.finding):
            return  # fenced off: another worker has this case now
        for place, sealed in screened.objects:
            sealed_objects.add(session, services.blobs, place, sealed, sealed_by="worker")
        detail = f"attempt {held.attempt}, urgency {screened.finding.urgency}"
        _audit(services, session, held, AuditAction.SUBMISSION_SCREENED, detail)


def _ask_for_retake(services: ScreeningServices, held: Claim, reason: str) -> None:
    with services.sessions() as session, session.begin():
        if screening_queue.ask_for_retake(session, held, reason):
            _audit(services, session, held, AuditAction.RETAKE_REQUESTED, "photo not usable")


def _give_back(
    services: ScreeningServices, held: Claim, *, reason: str, delay: timedelta, spent: bool
) -> None:
    with services.sessions() as session, session.begin():
        if screening_queue.give_back(session, held, reason=reason, delay=delay, spent=spent):
            _audit(services, session, held, AuditAction.SCREENING_FAILED, reason)


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
