"""From a claim to clean pixels: file keys from the keeper, ciphertext, photo, rendition."""

import io
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from clinic.envelope import EnvelopeError, PublicKey
from clinic.intake import History
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.photo import PhotoRejected, Rendition
from clinic.records import consents, keys, sealed_objects
from clinic.records.blobs import MissingBlobError
from clinic.records.keeper_client import KeeperCannotOpenError
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import SealedObject
from clinic.records.screening_queue import Claim
from clinic.submission import MAX_ATTEMPTS
from worker.analysis import Pixels
from worker.decode import DecoderDied
from worker.services import ScreeningServices

# The views that the ensemble may judge, best first: it was trained on dermoscopic close views.
ANALYSED_VIEWS: Final = ("dermoscopic", "close_up", "overview")
# The networks look at a square of some 200 pixels: decoding much more would be thrown away.
ANALYSED_SIDE: Final = 600

CANNOT_OPEN: Final = (EnvelopeError, MissingBlobError, KeeperCannotOpenError)
_DAMAGED: Final = (
    "A photo arrived damaged and could not be opened. Please take it again and send it."
)
_CANNOT_BE_READ: Final = (
    "We tried several times and could not read this photo. Please take it again and send it."
)
_VIEW_NAMES: Final = {
    "overview": "photo from further away",
    "close_up": "close-up photo",
    "dermoscopic": "photo through the skin lens",
}


class PhotoUnusableError(Exception):
    """Known bad input; the text tells the patient what to do."""


class HistoryLostError(Exception):
    """The stored answers of the patient open no more: new photos would not help, people must."""


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
class CleanPhoto:
    view: str
    slot: int
    rendition: Rendition


@dataclass(frozen=True)
class OpenedCase:
    """A case ready for analysis. `pixels` are those of `chosen`, None without consent."""

    held: Claim
    history: History
    photos: tuple[CleanPhoto, ...]
    chosen: CleanPhoto
    pixels: Pixels | None = field(repr=False)
    recipient: PublicKey
    watch: Stopwatch


def open_case(services: ScreeningServices, held: Claim) -> OpenedCase:
    """Open and clean the photos of a case.

    Raises:
        PhotoUnusableError: a photo is damaged or no photo; the patient is asked for another.
        HistoryLostError: what the patient answered is damaged.
        KeeperUnavailableError: no file keys now.
        NoEpochKeyError: nothing can be sealed now.
        DecoderDied: the decoder gave no answer, but may the next time.

    """
    watch = Stopwatch()
    with services.sessions() as session, session.begin():
        recipient = keys.sealing_recipient(session, services.root_public_key)
        permitted = computer_may(session, held)
    with watch.stage("open"):
        rows, opened = _open(services, held)
    history = next(row for row in rows if row.kind == ObjectKind.HISTORY)
    with watch.stage("decode"):
        photos = tuple(
            _clean(services, held, row, opened[row.id])
            for row in rows
            if row.kind == ObjectKind.PHOTO
        )
        chosen = min(photos, key=lambda photo: ANALYSED_VIEWS.index(photo.view))
        pixels = pixels_of(chosen.rendition) if permitted else None
    told = History.from_dict(json.loads(opened[history.id]))
    return OpenedCase(held, told, photos, chosen, pixels, recipient, watch)


def computer_may(session: Session, held: Claim) -> bool:
    """Whether the patient permits it at this moment: consent ends by a period or by a word."""
    return held.ai_permitted and consents.permits_computer(session, held.patient_id)


def pixels_of(rendition: Rendition) -> Pixels:
    """RGB of the stored rendition [h, w, 3], as it is or scaled down while it is decoded.

    A JPEG can be decoded to a half, a quarter or an eighth, each pixel the mean of its block; the
    shorter side keeps at least ANALYSED_SIDE pixels.
    """
    with Image.open(io.BytesIO(rendition.data)) as image:
        shrink = max(1, min(image.size) // ANALYSED_SIDE)
        image.draft("RGB", (image.width // shrink, image.height // shrink))
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _open(
    services: ScreeningServices, held: Claim
) -> tuple[Sequence[SealedObject], dict[str, bytes]]:
    with services.sessions() as session:
        rows = sealed_objects.of_submission(
            session, held.submission_id, [ObjectKind.PHOTO, ObjectKind.HISTORY]
        )
    try:
        return rows, _opened(services, held, rows)
    except CANNOT_OPEN as error:
        _open_history(services, held, rows)
        raise PhotoUnusableError(_DAMAGED) from error


def _open_history(services: ScreeningServices, held: Claim, rows: Sequence[SealedObject]) -> None:
    """Tell a damaged history from a damaged photo: alone it opens or it does not."""
    try:
        _opened(services, held, [row for row in rows if row.kind == ObjectKind.HISTORY])
    except CANNOT_OPEN as error:
        raise HistoryLostError("the patient's answers are damaged and cannot be opened") from error


def _opened(
    services: ScreeningServices, held: Claim, rows: Sequence[SealedObject]
) -> dict[str, bytes]:
    wanted = NewKeyRequest(
        purpose=KeyPurpose.SCREENING,
        object_ids=tuple(row.id for row in rows),
        recipient_key=b"",
        submission_id=held.submission_id,
        token=held.token,
    )
    file_keys = services.keeper.file_keys(wanted)
    return {
        row.id: sealed_objects.open_object(row, services.blobs, file_key=file_keys[row.id])
        for row in rows
    }


def _clean(services: ScreeningServices, held: Claim, row: SealedObject, data: bytes) -> CleanPhoto:
    view = row.view or "close_up"
    try:
        rendition = services.decode(data)
    except PhotoRejected as rejected:
        words = f"Your {_VIEW_NAMES[view]}: {rejected.reason.sentence}"
        raise PhotoUnusableError(words) from rejected
    except DecoderDied as died:
        if held.attempt < MAX_ATTEMPTS:
            raise
        raise PhotoUnusableError(f"Your {_VIEW_NAMES[view]}: {_CANNOT_BE_READ}") from died
    return CleanPhoto(view, row.slot, rendition)
