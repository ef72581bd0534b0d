"""A small clinic for tests, with a fixed cast: the real records, keeper and rules on any database.

Alice is a patient; Bob is a dermatologist who reads her case; Carol is another patient; Dan is a
dermatologist of the same clinic without a claim; Erin administers; Grace audits; Frank is a
dermatologist of another clinic.
"""

import io
import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from clinic.access import Role
from clinic.account_secrets import AccountSecrets
from clinic.body_site import BodyLocation, BodySite, Side
from clinic.consent import FOR_CARE, ConsentDecision, Purpose
from clinic.double_read import ReadReason
from clinic.envelope import seal
from clinic.erasure_ledger import ErasureLedger
from clinic.installation_key import InstallationKey
from clinic.intake import Answer, History, Onset, SevenPoint, Sex, SkinType, Symptom
from clinic.keeper_protocol import ObjectKind
from clinic.master_key import LocalMasterKey
from clinic.passwords import Passwords
from clinic.photo import PhotoLimits, clean_photo
from clinic.records import (
    accounts,
    adjudication,
    case_notes,
    consents,
    first_reads,
    keys,
    messages,
    review,
    review_queue,
    sealed_objects,
    second_reads,
    submissions,
)
from clinic.records.accounts import NewAccount
from clinic.records.audit_log import Auditor
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.db import SessionFactory, database_now, new_id
from clinic.records.erasure import Eraser
from clinic.records.first_reads import Impression
from clinic.records.keeper_client import KeeperClient
from clinic.records.models import Account, Clinic, SealedObject, Submission
from clinic.records.review import Decision
from clinic.records.sealed_objects import Place
from clinic.records.second_reads import NewRead, SecondOpinion
from clinic.records.submissions import NewSubmission
from clinic.submission import CaseState
from tests.fakes import FakeAnalyst, InlineHints
from tools.lesion_drawing import draw_lesion
from web.portal.texts import Identity, write_identity
from worker.keeper import Keeper
from worker.screen_submission import screen
from worker.services import ScreeningServices

PASSWORD = "correct horse battery"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
FAST_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
BIRTH_DATE = date(1970, 3, 4)


@dataclass(frozen=True)
class Person:
    account_id: str
    role: Role
    email: str
    clinic_id: str
    patient_id: str | None = None


@dataclass
class World:
    """The parts of one installation and the cast. Make it with `build`."""

    sessions: SessionFactory
    blobs: FolderBlobStore
    keeper: Keeper
    hints: InlineHints
    auditor: Auditor
    secrets: AccountSecrets
    passwords: Passwords
    root_public_key: bytes
    enrolment_key: bytes
    root_private: Ed25519PrivateKey
    master: LocalMasterKey
    folder: Path
    clinic_id: str = ""
    other_clinic_id: str = ""
    people: dict[str, Person] = field(default_factory=dict)
    analyst: FakeAnalyst = field(default_factory=FakeAnalyst)

    def __getattr__(self, name: str) -> Person:
        people = self.__dict__.get("people", {})
        if name in people:
            return people[name]
        raise AttributeError(name)

    @property
    def eraser(self) -> Eraser:
        ledger = ErasureLedger(self.folder / "erasures.jsonl", self.auditor.key)
        signer, kept = InstallationKey(b"i" * 32), timedelta(days=30)
        return Eraser(self.sessions, self.blobs, ledger, self.auditor, signer, kept)

    def add_person(self, name: str, role: Role, *, clinic_id: str | None = None) -> Person:
        clinic = clinic_id or self.clinic_id
        email = f"{name}@example.org"
        names = (name.title(), "Reader") if role is not Role.PATIENT else (None, None)
        new = NewAccount(
            clinic,
            role,
            email,
            self.passwords.hash(PASSWORD),
            *names,
            f"REG-{name}" if role is Role.DERMATOLOGIST else None,
        )
        with self.sessions() as session, session.begin():
            account = accounts.create_account(session, self.secrets, new)
            patient_id = None
            if role is Role.PATIENT:
                account.birth_date_sealed = self.secrets.seal(
                    BIRTH_DATE.isoformat(), account_id=account.id, column="birth_date"
                )
                patient = accounts.create_patient(session, account)
                patient_id = patient.id
                purposes = (*FOR_CARE, Purpose.AI_ASSISTANCE)
                consents.record(
                    session, patient.id, [ConsentDecision(one, True) for one in purposes]
                )
                sealed_objects.add_text(
                    session,
                    self.blobs,
                    Place(patient.id, None, ObjectKind.IDENTITY),
                    write_identity(Identity(f"{name.title()}-Family", name.title(), BIRTH_DATE)),
                    recipient=keys.sealing_recipient(session, self.root_public_key),
                )
            else:
                account.totp_secret_sealed = self.secrets.seal(
                    TOTP_SECRET, account_id=account.id, column="totp_secret"
                )
            person = Person(account.id, role, email, clinic, patient_id)
        self.people[name] = person
        return person

    def submit(
        self, patient: Person, *, photos: dict[str, bytes] | None = None, ai: bool = True
    ) -> str:
        """A case in state received, its photos and history sealed as the portal seals them."""
        submission_id = new_id()
        shots = photos if photos is not None else {"close_up": PHOTO}
        with self.sessions() as session, session.begin():
            row = submissions.create(
                session,
                NewSubmission(
                    submission_id=submission_id,
                    patient_id=patient.patient_id or "",
                    clinic_id=patient.clinic_id,
                    body_site=BodySite.BACK,
                    body_side=Side.LEFT,
                    ai_permitted=ai,
                    due_at=database_now(session) + timedelta(days=5),
                ),
            )
            recipient = keys.sealing_recipient(session, self.root_public_key)
            for slot, (view, data) in enumerate(shots.items()):
                place = Place(row.patient_id, row.id, ObjectKind.PHOTO, slot, view)
                sealed = seal(data, context=place.context, recipients=[recipient])
                sealed_objects.add(session, self.blobs, place, sealed, sealed_by="browser")
            place = Place(row.patient_id, row.id, ObjectKind.HISTORY)
            text = json.dumps(history().to_dict())
            sealed_objects.add_text(session, self.blobs, place, text, recipient=recipient)
        return submission_id

    def screening(self, **changed: object) -> ScreeningServices:
        """The worker's services, with a process of its own enrolled."""
        with self.sessions() as session, session.begin():
            identity = keys.enrol_process(session, self.enrolment_key, program="worker")
        client = KeeperClient(self.sessions, self.hints, identity, patience_seconds=1.0)
        parts: dict[str, object] = {
            "sessions": self.sessions,
            "blobs": self.blobs,
            "keeper": client,
            "auditor": self.auditor,
            "decode": lambda data: clean_photo(data, limits=PhotoLimits()),
            "analyst": self.analyst,
            "root_public_key": self.root_public_key,
            "lease": timedelta(seconds=30),
            "share": lambda: 1.0,
        }
        return ScreeningServices(**{**parts, **changed})  # type: ignore[arg-type]

    def screened(self, patient: Person) -> str:
        """A case in state awaiting review, screened by the fake analyst."""
        submission_id = self.submit(patient)
        screen(self.screening(), submission_id)
        return submission_id

    def claimed(self, patient: Person, reader: Person) -> str:
        submission_id = self.screened(patient)
        with self.sessions() as session, session.begin():
            assert review_queue.claim(session, submission_id, reader_id=reader.account_id)
        return submission_id

    def first_read(self, patient: Person, reader: Person) -> str:
        submission_id = self.claimed(patient, reader)
        self.read_blind(submission_id, reader)
        return submission_id

    def read_blind(self, submission_id: str, reader: Person) -> None:
        """The first read of a case that this reader holds."""
        with self.sessions() as session, session.begin():
            first_reads.start(session, submission_id, reader_id=reader.account_id)
            blind = Impression("nv", "medium", ("bkl",), 2)
            first_reads.record(session, submission_id, reader_id=reader.account_id, blind=blind)

    def signed(self, patient: Person, reader: Person) -> str:
        submission_id = self.first_read(patient, reader)
        self.sign(submission_id, reader)
        return submission_id

    def sign(self, submission_id: str, reader: Person, *, diagnosis: str = "nv") -> None:
        """Sign a case that this reader holds and has read."""
        with self.sessions() as session, session.begin():
            row = submissions.find(session, submission_id)
            assert row is not None
            recipient = keys.sealing_recipient(session, self.root_public_key)
            texts = {
                ObjectKind.FINDING: json.dumps(
                    {"diagnosis_text": "", "clinical_note": "A clinical note.", "sex": "female"}
                ),
                ObjectKind.LETTER: "This spot is harmless.",
            }
            finding, letter = (
                sealed_objects.add_text(
                    session,
                    self.blobs,
                    Place(row.patient_id, row.id, kind),
                    text,
                    recipient=recipient,
                )
                for kind, text in texts.items()
            )
            review.sign(
                session,
                row,
                reader_id=reader.account_id,
                decision=Decision(
                    diagnosis=diagnosis,
                    icd10cm="D22.5",
                    confidence="high",
                    image_quality="good",
                    plan="benign_advice",
                    agreement="agree",
                    override_reason=None,
                    finding=finding,
                    letter=letter,
                ),
            )

    def ask_second(self, case: str, asker: Person, *, of: Person | None = None) -> str:
        """A blind second opinion on a case that this reader holds or signed; its id."""
        with self.sessions() as session, session.begin():
            row = submissions.find(session, case)
            assert row is not None
            question = self.sealed_text(session, row, ObjectKind.QUESTION, "Is this a nevus?")
            new = NewRead(
                reason=ReadReason.ASKED,
                blind=True,
                holds=row.case_state != CaseState.SIGNED,
                asked_by=asker.account_id,
                asked_of=of.account_id if of else None,
                first_diagnosis="nv",
                question=question,
            )
            return second_reads.ask(session, row, new).id

    def sealed_text(
        self, session: Session, row: Submission, kind: ObjectKind, text: str
    ) -> SealedObject:
        recipient = keys.sealing_recipient(session, self.root_public_key)
        place = Place(row.patient_id, row.id, kind, sealed_objects.next_slot(session, row.id, kind))
        return sealed_objects.add_text(session, self.blobs, place, text, recipient=recipient)

    def second_read(
        self, case: str, asker: Person, reader: Person, *, diagnosis: str, plan: str
    ) -> str:
        """A second opinion that was asked for and is there; its id."""
        read_id = self.ask_second(case, asker, of=reader)
        self.answer_second(read_id, reader, diagnosis=diagnosis, plan=plan)
        return read_id

    def answer_second(self, read_id: str, reader: Person, *, diagnosis: str, plan: str) -> None:
        with self.sessions() as session, session.begin():
            assert second_reads.take(session, read_id, reader_id=reader.account_id)
            row = second_reads.find(session, read_id)
            assert row is not None
            opinion = SecondOpinion([diagnosis], "high", plan)
            second_reads.record(session, row, opinion, reader_id=reader.account_id)
            adjudication.after_reading(session, row)

    def message(self, case: str, author: Person, text: str) -> None:
        """A message of the case's patient or its reader."""
        with self.sessions() as session, session.begin():
            row = submissions.find(session, case)
            assert row is not None
            sealed = self.sealed_text(session, row, ObjectKind.MESSAGE, text)
            account = session.get_one(Account, author.account_id)
            messages.write(session, row, author=account, sealed=sealed)

    def note(self, case: str, author: Person, text: str) -> None:
        """A note for the readers of the case."""
        with self.sessions() as session, session.begin():
            row = submissions.find(session, case)
            assert row is not None
            sealed = self.sealed_text(session, row, ObjectKind.NOTE, text)
            case_notes.write(session, row, author_id=author.account_id, sealed=sealed)

    def decide_on_research(self, patient: Person, *, permitted: bool) -> None:
        """What this patient ticks, or takes back, on the account page."""
        with self.sessions() as session, session.begin():
            decision = ConsentDecision(Purpose.RESEARCH, permitted)
            consents.record(session, patient.patient_id or "", [decision])


def build(sessions: SessionFactory, folder: Path) -> World:
    """The installation with its cast."""
    root = Ed25519PrivateKey.generate()
    master, auditor = LocalMasterKey(b"m" * 32), Auditor(b"a" * 32)
    keeper = Keeper(sessions, master, auditor, b"e" * 32)
    world = World(
        sessions=sessions,
        blobs=FolderBlobStore(folder / "blobs"),
        keeper=keeper,
        hints=InlineHints(keeper),
        auditor=auditor,
        secrets=AccountSecrets(b"s" * 32),
        passwords=Passwords.using(FAST_HASHER),
        root_public_key=root.public_key().public_bytes_raw(),
        enrolment_key=b"e" * 32,
        root_private=root,
        master=master,
        folder=folder,
    )
    with sessions() as session, session.begin():
        keys.publish_epoch(session, master, root)
        clinics = [
            Clinic(id="0" * 31 + str(n), slug=f"clinic-{n}", name=f"Clinic {n}", phone="0")
            for n in (1, 2)
        ]
        session.add_all(clinics)
        session.flush()
        world.clinic_id, world.other_clinic_id = clinics[0].id, clinics[1].id
    world.add_person("alice", Role.PATIENT)
    world.add_person("carol", Role.PATIENT)
    world.add_person("bob", Role.DERMATOLOGIST)
    world.add_person("dan", Role.DERMATOLOGIST)
    world.add_person("erin", Role.ADMINISTRATOR)
    world.add_person("grace", Role.AUDITOR)
    world.add_person("frank", Role.DERMATOLOGIST, clinic_id=world.other_clinic_id)
    return world


def history() -> History:
    return History(
        age=52,
        sex=Sex.FEMALE,
        skin_type=SkinType.II,
        location=BodyLocation(BodySite.BACK, Side.LEFT, "below the shoulder blade"),
        onset=Onset.MONTHS,
        seven_point=dict.fromkeys(SevenPoint, Answer.NO),
        symptoms=dict.fromkeys(Symptom, Answer.NO),
        own_skin_cancer=Answer.NO,
        family_skin_cancer=Answer.NO,
        immunosuppressed=Answer.NO,
    )


def jpeg(seed: int) -> bytes:
    """A drawn lesion as a phone would send it."""
    out = io.BytesIO()
    draw_lesion(seed).save(out, "JPEG", quality=92)
    return out.getvalue()


PHOTO = jpeg(3)
