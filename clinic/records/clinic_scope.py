"""The wall between clinics, in the query layer: a request's session sees the rows of one clinic.

Every SELECT, UPDATE and DELETE gets the clinic's condition on each table that it names, in
subqueries and joins too, and what a flush writes must be of that clinic. Closed by default: until
a clinic is set such a session reads and writes no clinic's rows at all. Sessions of programs that
serve all clinics are plain ones (clinic.records.db.every_clinic_sessions).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, cast

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Select,
    TableClause,
    TextClause,
    event,
    or_,
    select,
)
from sqlalchemy.orm import FromStatement, ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.orm.util import LoaderCriteriaOption
from sqlalchemy.sql import visitors

from clinic.records.db import Base
from clinic.records.models import (
    Account,
    Attachment,
    AuditCheck,
    AuditEntry,
    AuditHead,
    CaseDraft,
    CaseMessage,
    CaseNote,
    Clinic,
    Consensus,
    Consent,
    DoubleReadRule,
    EhrClient,
    EpochKeyRow,
    ErasureRequest,
    Escalation,
    EscalationContact,
    FirstRead,
    HandOver,
    Holiday,
    Invitation,
    KeyRequest,
    KnownDevice,
    LoginSession,
    MasterKeyHead,
    Notice,
    OneTimeLink,
    Passkey,
    PasskeyChallenge,
    PathologyResult,
    Patient,
    PatientKey,
    ProcessKey,
    Reading,
    RecoveryCode,
    ReportWithdrawal,
    ScreeningResult,
    SealedObject,
    SecondRead,
    ServiceLimit,
    SignedReport,
    SignInLink,
    Submission,
)

# Tables of the installation: what they hold is no clinic's alone.
SHARED: Final = frozenset({AuditCheck, AuditHead, EpochKeyRow, MasterKeyHead, ProcessKey})

_EVERY_CLINIC: Final = "every clinic"  # no id: those are hexadecimal


class NoClinicError(Exception):
    """A clinic's rows were asked for before anybody said which clinic's."""


class OtherClinicError(Exception):
    """A row of another clinic, or of none, was to be written."""


def conditions(clinic_id: str) -> dict[type[Base], ColumnElement[bool]]:
    """What each table's rows must meet to be this clinic's. A new table is named here or above."""
    people = select(Account.id).where(Account.clinic_id == clinic_id)
    patients = select(Patient.id).where(Patient.clinic_id == clinic_id)
    cases = select(Submission.id).where(Submission.clinic_id == clinic_id)
    return {
        Account: Account.clinic_id == clinic_id,
        Attachment: Attachment.submission_id.in_(cases),
        AuditEntry: AuditEntry.clinic_id == clinic_id,
        CaseDraft: CaseDraft.submission_id.in_(cases),
        CaseMessage: CaseMessage.clinic_id == clinic_id,
        CaseNote: CaseNote.clinic_id == clinic_id,
        Clinic: Clinic.id == clinic_id,
        Consensus: Consensus.clinic_id == clinic_id,
        Consent: Consent.patient_id.in_(patients),
        DoubleReadRule: DoubleReadRule.clinic_id == clinic_id,
        EhrClient: EhrClient.clinic_id == clinic_id,
        ErasureRequest: ErasureRequest.clinic_id == clinic_id,
        Escalation: Escalation.clinic_id == clinic_id,
        EscalationContact: EscalationContact.clinic_id == clinic_id,
        FirstRead: FirstRead.submission_id.in_(cases),
        HandOver: HandOver.clinic_id == clinic_id,
        Holiday: Holiday.clinic_id == clinic_id,
        Invitation: Invitation.clinic_id == clinic_id,
        KeyRequest: _asked_by(people, cases),
        KnownDevice: KnownDevice.account_id.in_(people),
        LoginSession: LoginSession.account_id.in_(people),
        Notice: Notice.account_id.in_(people),
        OneTimeLink: OneTimeLink.account_id.in_(people),
        Passkey: Passkey.account_id.in_(people),
        PasskeyChallenge: PasskeyChallenge.account_id.in_(people),
        PathologyResult: PathologyResult.clinic_id == clinic_id,
        Patient: Patient.clinic_id == clinic_id,
        PatientKey: PatientKey.patient_id.in_(patients),
        Reading: Reading.submission_id.in_(cases),
        RecoveryCode: RecoveryCode.account_id.in_(people),
        ReportWithdrawal: ReportWithdrawal.clinic_id == clinic_id,
        ScreeningResult: ScreeningResult.clinic_id == clinic_id,
        SealedObject: SealedObject.patient_id.in_(patients),
        ServiceLimit: ServiceLimit.clinic_id == clinic_id,
        SecondRead: SecondRead.clinic_id == clinic_id,
        SignedReport: SignedReport.clinic_id == clinic_id,
        SignInLink: SignInLink.account_id.in_(people),
        Submission: Submission.clinic_id == clinic_id,
    }


def _asked_by(people: Select[Any], cases: Select[Any]) -> ColumnElement[bool]:
    """A request to the keeper names a case, or was asked in a person's login session."""
    logins = select(LoginSession.id).where(LoginSession.account_id.in_(people))
    return or_(KeyRequest.submission_id.in_(cases), KeyRequest.login_session_id.in_(logins))


class ClinicSession(Session):
    """A session behind the wall. It is closed until `keep_to` or `every_clinic` opens it."""


def close(session: Session) -> None:
    """From here on this session touches no clinic's rows."""
    session.info.pop("clinic", None)


def keep_to(session: Session, clinic_id: str) -> None:
    """From here on this session touches the rows of this clinic alone."""
    session.info["clinic"] = clinic_id


def open_to_every_clinic(session: Session) -> None:
    """From here on this session touches the rows of all clinics."""
    session.info["clinic"] = _EVERY_CLINIC


@contextmanager
def every_clinic(session: Session) -> Iterator[None]:
    """Meanwhile this session touches the rows of all clinics, and then what it did before."""
    before = session.info.get("clinic")
    open_to_every_clinic(session)
    try:
        yield
    finally:
        session.info["clinic"] = before


@event.listens_for(ClinicSession, "do_orm_execute")
def _add_conditions(state: ORMExecuteState) -> None:
    clinic_id = state.session.info.get("clinic")
    if clinic_id == _EVERY_CLINIC or state.is_column_load:  # a row that the session holds already
        return
    parts = tuple(visitors.iterate(cast("ClauseElement", state.statement)))
    touched = {part.name for part in parts if isinstance(part, TableClause)} - _SHARED_TABLES
    if clinic_id is not None and _takes_conditions(state):
        state.statement = state.statement.options(*_options(clinic_id, frozenset(touched)))
        return
    if any(isinstance(part, TextClause) for part in parts):
        touched.add("plain SQL")  # words without a table may name any
    if touched:
        problem = "No clinic was set" if clinic_id is None else "No condition fits this statement"
        raise NoClinicError(f"{problem}; it touches {', '.join(sorted(touched))}.")


def _takes_conditions(state: ORMExecuteState) -> bool:
    by_hand = isinstance(state.statement, FromStatement)
    return state.is_orm_statement and not state.is_insert and not by_hand


_SHARED_TABLES: Final = frozenset(table.__tablename__ for table in SHARED)


@lru_cache(maxsize=4096)
def _options(clinic_id: str, named: frozenset[str]) -> tuple[LoaderCriteriaOption, ...]:
    """The conditions of the tables that a statement names, and of those it may load along.

    All conditions on every statement would be as right, but each costs its share of Python.
    """
    every = _every_option(clinic_id)
    wanted = frozenset().union(*(_loaded_with()[name] for name in named))
    return tuple(every[name] for name in sorted(wanted))


@lru_cache(maxsize=64)
def _every_option(clinic_id: str) -> dict[str, LoaderCriteriaOption]:
    tables = conditions(clinic_id)
    forgotten = {one.class_ for one in Base.registry.mappers} - tables.keys() - SHARED
    if forgotten:
        raise NoClinicError(f"Nothing says whose the rows are of {forgotten}.")
    return {
        table.__tablename__: with_loader_criteria(table, condition, include_aliases=True)
        for table, condition in tables.items()
    }


@lru_cache(maxsize=1)
def _loaded_with() -> dict[str, frozenset[str]]:
    """Of each table: itself and all that its relationships lead to, which a join may load along."""
    reached = {one: {one} for one in Base.registry.mappers}
    for mapper, found in reached.items():
        ahead = [mapper]
        while ahead:
            led_to = {relationship.mapper for relationship in ahead.pop().relationships}
            ahead.extend(led_to - found)
            found.update(led_to)
    return {
        mapper.class_.__tablename__: frozenset(one.class_.__tablename__ for one in found)
        - _SHARED_TABLES
        for mapper, found in reached.items()
    }


@event.listens_for(ClinicSession, "before_flush")
def _refuse_others_rows(session: Session, *_: object) -> None:
    """A row without a clinic of its own belongs to a row that was read behind the wall."""
    clinic_id = session.info.get("clinic")
    if clinic_id == _EVERY_CLINIC:
        return
    for row in (*session.new, *session.dirty):
        if type(row) in SHARED:
            continue
        if clinic_id is None or getattr(row, "clinic_id", clinic_id) != clinic_id:
            raise OtherClinicError(
                f"A row of {row.__tablename__} is not of the clinic that is set."
            )
