"""The keeper: the one process that holds stored private keys. It re-wraps file keys, nothing else.

It takes one opaque id, reads everything from the database, decides again by its own policy and
writes its answer and its audit entry in one transaction. No answer holds an unwrapped key.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.access import Actor
from clinic.audit_event import AuditAction
from clinic.consent import Purpose
from clinic.ehr_client import EhrClient
from clinic.envelope import (
    EnvelopeError,
    Header,
    PublicKey,
    unwrap,
    unwrap_with_key,
    wrap,
    wrap_with_key,
)
from clinic.escrow import Escrow
from clinic.keeper_protocol import (
    CANNOT_OPEN,
    RECIPIENT_KID,
    KeyPurpose,
    ObjectKind,
    RequestFacts,
    WantedObject,
    enrolment_mac,
    refusal,
)
from clinic.master_key import MasterKey
from clinic.records import (
    accounts,
    consents,
    ehr_clients,
    keys,
    screening_queue,
    sealed_objects,
    submissions,
)
from clinic.records.audit_log import Auditor
from clinic.records.db import SessionFactory, database_now
from clinic.records.key_requests import asked_last_hour
from clinic.records.keys import KeyDestroyedError
from clinic.records.models import (
    KeyRequest,
    LoginSession,
    ProcessKey,
    SealedObject,
    Submission,
)
from clinic.submission import ScreeningState

ACTOR = "keeper"
_PROGRAM_FOR = {KeyPurpose.SCREENING: "worker", KeyPurpose.TRAINING: "export"}  # others: web


@dataclass(frozen=True)
class Keeper:
    sessions: SessionFactory
    master: MasterKey
    auditor: Auditor
    enrolment_key: bytes
    escrow: Escrow | None = None

    def answer(self, request_id: str) -> None:
        """Grant or refuse one request. A repeated or unknown id changes nothing.

        Raises:
            MasterKeyError: this keeper cannot do its work; the request stays as it was.

        """
        with self.sessions() as session, session.begin():
            request = session.scalar(
                select(KeyRequest).where(KeyRequest.id == request_id).with_for_update()
            )
            if request is None or request.state != "waiting":
                return
            objects = _objects(session, request)
            facts = self._facts(session, request, objects)
            reason = refusal(facts)
            if reason is None:
                reason = self._grant(session, request, objects)
            if reason is not None:
                request.state, request.refusal = "refused", reason[:100]
            self._audit(session, request, facts, reason)

    def settle(self, patient_id: str) -> int:
        """Move a patient's objects from the epoch keys to the patient's own; return how many.

        What does not open any more stays as it is and holds nothing else up.
        """
        with self.sessions() as session, session.begin():
            rows = _unsettled(session, patient_id)
            if not rows:
                return 0
            kid, key = keys.patient_key(session, self.master, patient_id, escrow=self.escrow)
            moved = sum(self._move(session, row, kid=kid, key=key) for row in rows)
            if moved == 0:
                return 0
            self.auditor.record(
                session,
                AuditAction.OBJECTS_SETTLED,
                ACTOR,
                patient_id=patient_id,
                detail=f"{moved} objects",
            )
            return moved

    def _move(self, session: Session, row: SealedObject, *, kid: str, key: bytes) -> bool:
        try:
            header, file_key = self._opened(session, row)
        except (EnvelopeError, KeyDestroyedError):
            return False
        entry = wrap_with_key(header, file_key, kid=kid, key=key)
        row.header = header.with_recipients(entry).to_json()
        row.settled = True
        return True

    def _grant(
        self, session: Session, request: KeyRequest, objects: Sequence[SealedObject]
    ) -> str | None:
        recipient = PublicKey(kid=RECIPIENT_KID, raw=request.recipient_key)
        try:
            answer = {row.id: self._rewrapped(session, row, recipient) for row in objects}
        except (EnvelopeError, KeyDestroyedError) as error:
            return f"{CANNOT_OPEN}: {error}"
        request.state, request.answer = "granted", answer
        return None

    def _rewrapped(self, session: Session, row: SealedObject, recipient: PublicKey) -> str:
        header, file_key = self._opened(session, row)
        return header.with_recipients(wrap(header, file_key, public_key=recipient)).to_json()

    def _opened(self, session: Session, row: SealedObject) -> tuple[Header, bytes]:
        """The object's header and file key.

        A key that is gone may have been exchanged since the row was read: it is read once more.
        """
        header = sealed_objects.header_of(row)
        try:
            return header, self._file_key(session, header)
        except KeyDestroyedError:
            session.refresh(row, ["header"])
            again = sealed_objects.header_of(row)
            if again == header:
                raise
            return again, self._file_key(session, again)

    def _file_key(self, session: Session, header: Header) -> bytes:
        entry = header.recipients[-1]
        if entry.alg is not None:
            key = keys.patient_key_by_kid(session, self.master, entry.kid)
            return unwrap_with_key(header, kid=entry.kid, key=key)
        private = keys.epoch_private_key(session, self.master, entry.kid)
        return unwrap(header, kid=entry.kid, private_key=private)

    def _facts(
        self, session: Session, request: KeyRequest, objects: Sequence[SealedObject]
    ) -> RequestFacts:
        now = database_now(session)
        case = submissions.find(session, request.submission_id) if request.submission_id else None
        complete = len(objects) == len(set(request.object_ids))
        return RequestFacts(
            purpose=KeyPurpose(request.purpose),
            expired=request.expires_at < now,
            objects=tuple(map(_wanted, objects)) if complete else (),
            requests_last_hour=asked_last_hour(session, request),
            process_enrolled=self._is_enrolled(session, request),
            actor=_actor(session, request),
            case=submissions.facts(session, case) if case else None,
            submission_id=case.id if case else None,
            ai_unavailable=case is not None and case.screening_state == ScreeningState.DEAD,
            ehr_client=_ehr_client(session, request),
            holds_lease=case is not None
            and screening_queue.holds_lease(session, case.id, request.token),
            research_permitted=case is not None
            and consents.permits(session, case.patient_id, Purpose.RESEARCH),
        )

    def _is_enrolled(self, session: Session, request: KeyRequest) -> bool:
        row = session.get(ProcessKey, request.process_id) if request.process_id else None
        if row is None or row.public_key != request.recipient_key:
            return False
        expected = _PROGRAM_FOR.get(KeyPurpose(request.purpose), "web")
        mac = enrolment_mac(
            self.enrolment_key,
            process_id=row.id,
            program=row.program,
            public_key=row.public_key,
        )
        return row.program == expected and hmac.compare_digest(mac, row.mac)

    def _audit(
        self, session: Session, request: KeyRequest, facts: RequestFacts, reason: str | None
    ) -> None:
        granted = reason is None
        self.auditor.record(
            session,
            AuditAction.KEYS_RELEASED if granted else AuditAction.KEYS_REFUSED,
            ACTOR,
            clinic_id=facts.case.clinic_id if facts.case else None,
            patient_id=facts.objects[0].patient_id if facts.objects else None,
            submission_id=request.submission_id,
            allowed=granted,
            detail=f"{request.purpose}: {reason or _kinds(facts)}",
        )


def _objects(session: Session, request: KeyRequest) -> list[SealedObject]:
    query = select(SealedObject).where(SealedObject.id.in_(request.object_ids))
    return list(session.scalars(query))


def _unsettled(session: Session, patient_id: str) -> list[SealedObject]:
    busy = [ScreeningState.QUEUED, ScreeningState.RUNNING]
    query = (
        select(SealedObject)
        .outerjoin(Submission, Submission.id == SealedObject.submission_id)
        .where(SealedObject.patient_id == patient_id, SealedObject.settled.is_(False))
        .where(Submission.id.is_(None) | Submission.screening_state.not_in(busy))
        .with_for_update(of=SealedObject)
    )
    return list(session.scalars(query))


def _wanted(row: SealedObject) -> WantedObject:
    return WantedObject(ObjectKind(row.kind), row.patient_id, row.submission_id)


def _actor(session: Session, request: KeyRequest) -> Actor | None:
    if request.login_session_id is None:
        return None
    login = session.get(LoginSession, request.login_session_id)
    if login is None or not accounts.is_signed_in(login, database_now(session)):
        return None
    return accounts.actor_of(session, login)


def _ehr_client(session: Session, request: KeyRequest) -> EhrClient | None:
    return ehr_clients.alive(session, request.ehr_client_id) if request.ehr_client_id else None


def _kinds(facts: RequestFacts) -> str:
    return ", ".join(sorted({str(one.kind) for one in facts.objects}))
