"""Sealed cases put straight into the records of a running installation, as the portal stores them.

For measurements of what comes after the portal; its own limits on one patient do not count here.
"""

import io
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle, islice
from typing import Final

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.body_site import BodyLocation, BodySite, Side
from clinic.envelope import PublicKey, seal
from clinic.intake import Answer, History, Onset, SevenPoint, Sex, SkinType, Symptom
from clinic.keeper_protocol import ObjectKind
from clinic.records import keys, sealed_objects, submissions
from clinic.records.blobs import BlobStore
from clinic.records.db import SessionFactory, database_now, new_id
from clinic.records.models import Patient
from clinic.records.sealed_objects import Place
from clinic.records.submissions import NewSubmission
from tools.installation import Installation

HISTORY: Final = History(
    age=52,
    sex=Sex.FEMALE,
    skin_type=SkinType.II,
    location=BodyLocation(BodySite.BACK, Side.LEFT),
    onset=Onset.MONTHS,
    seven_point=dict.fromkeys(SevenPoint, Answer.NO),
    symptoms=dict.fromkeys(Symptom, Answer.NO),
    own_skin_cancer=Answer.NO,
    family_skin_cancer=Answer.NO,
    immunosuppressed=Answer.NO,
)


@dataclass(frozen=True)
class CaseSender:
    """Sends cases of one patient, each with one of the photos in turn, sealed anew."""

    sessions: SessionFactory
    blobs: BlobStore
    recipient: PublicKey
    patient_id: str
    clinic_id: str
    photos: tuple[bytes, ...]

    @classmethod
    def of(cls, installation: Installation, *photos: bytes) -> "CaseSender":
        sessions = installation.sessions()
        with sessions() as session:
            root = installation.settings().root_public_key or b""
            recipient = keys.sealing_recipient(session, root)
            patient = session.scalars(select(Patient).limit(1)).one()
            return cls(
                sessions, installation.blobs(), recipient, patient.id, patient.clinic_id, photos
            )

    def send(self) -> str:
        """Commit one case with its photo and history; return its id."""
        with self.sessions() as session, session.begin():
            return self._add(session, self.photos[0])

    def send_together(self, count: int) -> datetime:
        """Commit `count` cases in one transaction; return the time of its end."""
        with self.sessions() as session, session.begin():
            for photo in islice(cycle(self.photos), count):
                self._add(session, photo)
            return database_now(session)

    def _add(self, session: Session, photo: bytes) -> str:
        new = NewSubmission(
            submission_id=new_id(),
            patient_id=self.patient_id,
            clinic_id=self.clinic_id,
            body_site=BodySite.BACK,
            body_side=Side.LEFT,
            ai_permitted=True,
            due_at=database_now(session) + timedelta(days=5),
        )
        case = submissions.create(session, new).id
        place = Place(self.patient_id, case, ObjectKind.PHOTO, 0, "close_up")
        sealed = seal(photo, context=place.context, recipients=[self.recipient])
        sealed_objects.add(session, self.blobs, place, sealed, sealed_by="browser")
        told = Place(self.patient_id, case, ObjectKind.HISTORY)
        words = json.dumps(HISTORY.to_dict())
        sealed_objects.add_text(session, self.blobs, told, words, recipient=self.recipient)
        return case


def as_jpeg(image: Image.Image, *, quality: int = 92) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
