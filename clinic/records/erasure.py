"""Erasing a patient: keys destroyed, rows gone, bodies deleted, in an order that survives a crash.

The patient's row goes too, so that the foreign keys refuse whatever still arrives for them: an
upload under way, a consent, a second case. What stays knows the patient by an opaque id alone: the
destroyed keys, the audit chain, the request with its certificate, and for record systems the ids of
the reports that are gone. docs/adr/0014 and 0019 give the reasons.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.erasure_certificate import ErasureCertificate, issue
from clinic.erasure_ledger import ErasureLedger
from clinic.installation_key import InstallationKey
from clinic.records.audit_log import Auditor
from clinic.records.blobs import BlobStore
from clinic.records.db import Base, SessionFactory, database_now, new_id
from clinic.records.models import (
    Account,
    Attachment,
    AuditEntry,
    CaseDraft,
    CaseMessage,
    CaseNote,
    Consensus,
    Consent,
    ErasureRequest,
    Escalation,
    FirstRead,
    HandOver,
    KeyRequest,
    KnownDevice,
    LoginSession,
    Notice,
    OneTimeLink,
    Passkey,
    PasskeyChallenge,
    PathologyResult,
    Patient,
    PatientKey,
    Reading,
    RecoveryCode,
    ReportWithdrawal,
    ScreeningResult,
    SealedObject,
    SecondRead,
    SignedReport,
    SignInLink,
    Submission,
)
from clinic.retention import ErasureState

# Whoever adds a table with a patient's data adds it here, before what it refers to.
OF_A_CASE = (
    *(SignedReport, FirstRead, Reading, ScreeningResult, Escalation, HandOver),
    *(CaseDraft, Attachment, PathologyResult),
    *(SecondRead, Consensus, CaseMessage, CaseNote),
)
OF_A_PATIENT = (SealedObject, Submission, Consent)
OF_AN_ACCOUNT = (
    *(SignInLink, LoginSession, KnownDevice, Passkey, PasskeyChallenge, RecoveryCode),
    *(OneTimeLink, Notice),
)


@dataclass(frozen=True)
class Erased:
    """What one erasure took away: counts for the record, and the bodies still to delete."""

    clinic_id: str
    cases: int
    reports: int
    keys: int
    body_ids: tuple[str, ...]


@dataclass(frozen=True)
class PatientSummary:
    """What a person must know before they decide on an erasure."""

    patient_id: str
    record_number: str
    cases: int
    signed: int
    last_contact: datetime


@dataclass(frozen=True)
class Eraser:
    """What an erasure needs; `backups_kept` tells until when the last backup holds the record."""

    sessions: SessionFactory
    blobs: BlobStore
    ledger: ErasureLedger
    auditor: Auditor
    signer: InstallationKey
    backups_kept: timedelta

    def erase(self, patient_id: str, *, actor: str) -> Erased | None:
        """Erase all of a patient, or finish an erasure that was cut off; None: nothing was left.

        The ledger comes first: what it names is erased by the next run or by a restore, whatever
        fails after it. A body whose row is gone is swept as an orphan should its deletion here not
        happen. The certificate is issued in the transaction of the erasure.

        Raises:
            LedgerError: the ledger did not take the entry; nothing was erased.

        """
        self.ledger.add(patient_id, at=datetime.now(UTC))
        with self.sessions() as session, session.begin():
            erased = erase_rows(session, self.auditor, patient_id=patient_id, actor=actor)
            if erased is not None:
                self._certify(session, patient_id, erased, actor)
        for object_id in erased.body_ids if erased else ():
            self.blobs.delete(object_id)
        return erased

    def _certify(self, session: Session, patient_id: str, erased: Erased, actor: str) -> None:
        now = database_now(session)
        request = _request_of(session, patient_id) or _unasked(patient_id, erased, now)
        session.add(request)
        certificate = ErasureCertificate(
            number=request.id,
            patient_id=patient_id,
            clinic_id=erased.clinic_id,
            requested_at=request.requested_at,
            erased_at=now,
            backups_until=now + self.backups_kept,
            cases=erased.cases,
            reports=erased.reports,
            keys=erased.keys,
            pictures=len(erased.body_ids),
        )
        request.decided_at, request.decided_by = (
            request.decided_at or now,
            request.decided_by or actor,
        )
        request.state, request.certificate = ErasureState.DONE, issue(certificate, self.signer)


def _request_of(session: Session, patient_id: str) -> ErasureRequest | None:
    """The patient's own wish, if one is undecided: the erasure answers it."""
    return session.scalar(
        select(ErasureRequest)
        .where(ErasureRequest.patient_id == patient_id)
        .where(ErasureRequest.state.in_((ErasureState.OPEN, ErasureState.GRANTED)))
        .with_for_update()
    )


def _unasked(patient_id: str, erased: Erased, now: datetime) -> ErasureRequest:
    """An erasure that nobody asked for in the portal is on record too."""
    return ErasureRequest(
        id=new_id(),
        patient_id=patient_id,
        clinic_id=erased.clinic_id,
        requested_at=now,
        due_at=now,
    )


def certificate_of(session: Session, patient_id: str) -> str | None:
    """The signed certificate of a patient's erasure."""
    query = select(ErasureRequest.certificate).where(ErasureRequest.patient_id == patient_id)
    return session.scalar(query.where(ErasureRequest.state == ErasureState.DONE).limit(1))


def erase_rows(session: Session, auditor: Auditor, *, patient_id: str, actor: str) -> Erased | None:
    """The database's half, in the caller's transaction; None for a patient who is not there.

    A worker that screens one of the cases finds its row gone, so its result is never written.
    """
    patient = _locked(session, patient_id)
    if patient is None:
        return None
    cases = select(Submission.id).where(Submission.patient_id == patient_id)
    erased = Erased(
        clinic_id=patient.clinic_id,
        reports=_withdraw_reports(session, patient),
        cases=session.scalar(select(func.count()).select_from(cases.subquery())) or 0,
        keys=_destroy_keys(session, patient_id),
        body_ids=tuple(session.scalars(_bodies(patient_id))),
    )
    _delete_rows(session, patient, cases)
    auditor.record(
        session,
        AuditAction.PATIENT_ERASED,
        actor,
        clinic_id=erased.clinic_id,
        patient_id=patient_id,
        detail=f"{erased.cases} cases, {len(erased.body_ids)} bodies, {erased.keys} keys",
    )
    return erased


def _withdraw_reports(session: Session, patient: Patient) -> int:
    """Note for record systems which reports are gone; return how many."""
    signed = select(SignedReport.submission_id).where(SignedReport.patient_id == patient.id)
    cases = sorted(set(session.scalars(signed)))
    now = database_now(session)
    for case_id in cases:
        session.merge(
            ReportWithdrawal(
                submission_id=case_id,
                patient_id=patient.id,
                clinic_id=patient.clinic_id,
                withdrawn_at=now,
            )
        )
    session.flush()
    return len(cases)


def _locked(session: Session, patient_id: str) -> Patient | None:
    """The patient, once nobody else is at work on them.

    Cases and objects first, as worker and keeper take them, so that none waits for the other.
    """
    for table in (Submission, SealedObject):
        of_patient = select(table.id).where(table.patient_id == patient_id)
        session.scalars(of_patient.order_by(table.id).with_for_update()).all()
    return session.get(Patient, patient_id, with_for_update=True, populate_existing=True)


def _bodies(patient_id: str) -> Select[str]:
    stored = SealedObject.body.is_(None)
    return select(SealedObject.id).where(SealedObject.patient_id == patient_id, stored)


def _destroy_keys(session: Session, patient_id: str) -> int:
    living = PatientKey.patient_id == patient_id, PatientKey.destroyed_at.is_(None)
    count = session.scalar(select(func.count()).select_from(PatientKey).where(*living)) or 0
    gone = {"wrapped": None, "emergency_copy": None, "destroyed_at": database_now(session)}
    session.execute(update(PatientKey).where(*living).values(**gone))
    return count


def _delete_rows(session: Session, patient: Patient, cases: Select[str]) -> None:
    account_id = patient.account_id
    logins = select(LoginSession.id).where(LoginSession.account_id == account_id)
    asked = or_(KeyRequest.submission_id.in_(cases), KeyRequest.login_session_id.in_(logins))
    _delete(session, KeyRequest, asked)
    for of_case in OF_A_CASE:
        _delete(session, of_case, of_case.submission_id.in_(cases))
    for of_patient in OF_A_PATIENT:
        _delete(session, of_patient, of_patient.patient_id == patient.id)
    _delete(session, Patient, Patient.id == patient.id)
    for of_account in OF_AN_ACCOUNT:
        _delete(session, of_account, of_account.account_id == account_id)
    _delete(session, Account, Account.id == account_id)
    session.expire_all()


def _delete(session: Session, table: type[Base], condition: object) -> None:
    session.execute(
        delete(table).where(condition),  # type: ignore[arg-type]
        execution_options={"synchronize_session": False},
    )


def was_erased(session: Session, patient_id: str) -> datetime | None:
    """When the audit chain says that this patient was erased."""
    query = select(AuditEntry.at).where(AuditEntry.patient_id == patient_id)
    query = query.where(AuditEntry.action == AuditAction.PATIENT_ERASED)
    return session.scalar(query.order_by(AuditEntry.sequence.desc()).limit(1))


def find_patient(session: Session, reference: str) -> PatientSummary | None:
    """The patient with this record number or id."""
    found = or_(Patient.record_number == reference.upper(), Patient.id == reference.lower())
    patient = session.scalar(select(Patient).where(found))
    return _summary(session, patient) if patient else None


def patients_without_contact(session: Session, *, since: datetime) -> list[PatientSummary]:
    """Patients of whom nothing was received or signed since then, longest ago first."""
    received = exists().where(Submission.patient_id == Patient.id, Submission.received_at >= since)
    signed = exists().where(SignedReport.patient_id == Patient.id, SignedReport.signed_at >= since)
    query = select(Patient).where(Patient.created_at < since, ~received, ~signed)
    found = [_summary(session, patient) for patient in session.scalars(query)]
    return sorted(found, key=lambda one: one.last_contact)


def _summary(session: Session, patient: Patient) -> PatientSummary:
    received = session.scalars(
        select(Submission.received_at).where(Submission.patient_id == patient.id)
    ).all()
    signed = session.scalars(
        select(SignedReport.signed_at).where(SignedReport.patient_id == patient.id)
    ).all()
    return PatientSummary(
        patient_id=patient.id,
        record_number=patient.record_number,
        cases=len(received),
        signed=len(signed),
        last_contact=max([patient.created_at, *received, *signed]),
    )
