"""The cases that a benchmark opens: real rows with really sealed texts, claimed or signed."""

import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from clinic.body_site import BodySite, Side
from clinic.envelope import PublicKey, seal
from clinic.keeper_protocol import ObjectKind
from clinic.records import keys, review_queue, sealed_objects, submissions
from clinic.records.blobs import BlobStore
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, Patient, ScreeningResult, SignedReport, Submission
from clinic.records.sealed_objects import Place
from clinic.records.submissions import NewSubmission
from clinic.submission import CaseState, ScreeningState
from tools.installation import DEMO_BIRTH_DATE
from tools.sealed_cases import HISTORY
from web.portal.texts import Identity, write_identity

FINDING: Final = json.dumps({"diagnosis_text": "", "clinical_note": "A note.", "sex": "female"})
LETTER: Final = "This spot is harmless."


@dataclass(frozen=True)
class CaseMaker:
    """Makes cases of one patient, sealed to the clinic's epoch key, read by one dermatologist."""

    session: Session
    blobs: BlobStore
    recipient: PublicKey
    patient: Patient
    reader: Account

    @classmethod
    def of(
        cls, session: Session, blobs: BlobStore, root: bytes, *, patient: Patient, reader: Account
    ) -> "CaseMaker":
        return cls(session, blobs, keys.sealing_recipient(session, root), patient, reader)

    def for_another_patient(self) -> "CaseMaker":
        """A person with a record of their own, who cannot sign in."""
        patient = Patient(
            clinic_id=self.patient.clinic_id,
            record_number=f"DQ-{secrets.token_hex(4)}",
            created_at=database_now(self.session),
        )
        self.session.add(patient)
        self.session.flush()
        identity = write_identity(Identity("Bench", "A", DEMO_BIRTH_DATE))
        place = Place(patient.id, None, ObjectKind.IDENTITY)
        sealed_objects.add_text(self.session, self.blobs, place, identity, recipient=self.recipient)
        return replace(self, patient=patient)

    def claimed(self) -> str:
        """A case that the reader holds and has not read yet."""
        row = self._screened(database_now(self.session))
        review_queue.claim(self.session, row.id, reader_id=self.reader.id)
        return row.id

    def signed(self, *, received_at: datetime, signed_at: datetime) -> str:
        """A case of that time, with a signed report."""
        row = self._screened(received_at)
        row.case_state, row.claimed_by, row.claim_until = (
            CaseState.SIGNED,
            self.reader.id,
            signed_at,
        )
        finding = self._text(row, ObjectKind.FINDING, FINDING)
        letter = self._text(row, ObjectKind.LETTER, LETTER)
        self.session.add(
            SignedReport(
                submission_id=row.id,
                patient_id=row.patient_id,
                clinic_id=row.clinic_id,
                version=1,
                signer_id=self.reader.id,
                diagnosis="nv",
                icd10cm="D22.5",
                confidence="high",
                image_quality="good",
                plan="benign_advice",
                agreement="agree",
                finding_object_id=finding,
                letter_object_id=letter,
                signed_at=signed_at,
            )
        )
        self.session.flush()
        return row.id

    def _screened(self, received_at: datetime) -> Submission:
        row = submissions.create(
            self.session,
            NewSubmission(
                submission_id=new_id(),
                patient_id=self.patient.id,
                clinic_id=self.patient.clinic_id,
                body_site=BodySite.BACK,
                body_side=Side.LEFT,
                ai_permitted=True,
                due_at=received_at + timedelta(days=5),
            ),
        )
        row.received_at = row.queued_at = row.not_before = received_at
        row.case_state, row.urgency = CaseState.AWAITING_REVIEW, 2
        row.screening_state, row.attempt = ScreeningState.DONE, 1
        self._photo(row)
        self._text(row, ObjectKind.HISTORY, json.dumps(HISTORY.to_dict()))
        self.session.add(
            ScreeningResult(
                submission_id=row.id,
                clinic_id=row.clinic_id,
                ai_used=False,
                quality_flags=[],
                urgency=row.urgency,
                reasons=["a reason"],
                rule_reasons=["a reason"],
                stage_seconds={},
                finished_at=received_at,
            )
        )
        self.session.flush()
        return row

    def _photo(self, row: Submission) -> None:
        place = Place(row.patient_id, row.id, ObjectKind.RENDITION, 0, "close_up")
        sealed = seal(b"\xff\xd8\xff a photo", context=place.context, recipients=[self.recipient])
        sealed_objects.add(self.session, self.blobs, place, sealed, sealed_by="worker")

    def _text(self, row: Submission, kind: ObjectKind, text: str) -> str:
        place = Place(row.patient_id, row.id, kind)
        return sealed_objects.add_text(
            self.session, self.blobs, place, text, recipient=self.recipient
        ).id
