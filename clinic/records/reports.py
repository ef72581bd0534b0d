"""Signed reports as the EHR side finds them: rows by key, by search, by page."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload

from clinic.fhir_history import Withdrawal
from clinic.fhir_mapping import KeyKind, ReportKey, device_id
from clinic.fhir_search import PageKey, ReportQuery, Token
from clinic.records.models import (
    SIGNED_STATUSES,
    Patient,
    ReportWithdrawal,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.records.report_versions import is_newest
from clinic.submission import CaseState
from clinic.terminology import PATIENT_IDENTIFIER_SYSTEM

Found = Select[SignedReport]

_SIGNING = (SignedReport.signed_at, SignedReport.submission_id)
_SENDING = (Submission.received_at, Submission.id)
# Written out, not sent as a parameter: only so does a database see that the partial index fits.
_SIGNED = Submission.case_state == literal(CaseState.SIGNED, literal_execute=True)


def by_key(session: Session, *, clinic_id: str, key: ReportKey) -> SignedReport | None:
    """The newest signed report of this clinic that contains what `key` names."""
    query = _of_clinic(clinic_id)
    if key.kind is KeyKind.CASE:
        query = query.where(SignedReport.submission_id == key.id)
    elif key.kind is KeyKind.PATIENT:
        query = query.where(SignedReport.patient_id == key.id)
    elif key.kind is KeyKind.PRACTITIONER:
        query = query.where(SignedReport.signer_id == key.id)
    elif key.kind is KeyKind.ORGANIZATION:
        query = query.where(SignedReport.clinic_id == key.id)
    elif key.kind is KeyKind.PHOTO:
        query = query.where(_has_photo(key.id))
    else:
        query = query.where(_used_device(key.id))
    newest = (SignedReport.signed_at.desc(), SignedReport.submission_id.desc())
    return session.scalar(query.order_by(*newest).limit(1))


def is_withdrawn(session: Session, *, clinic_id: str, key: ReportKey) -> bool:
    """Whether a report of this clinic was withdrawn that contained what `key` names.

    Of a photo nothing is kept by which it could be told.
    """
    named = {
        KeyKind.CASE: ReportWithdrawal.submission_id,
        KeyKind.PATIENT: ReportWithdrawal.patient_id,
    }.get(key.kind)
    if named is None:
        return False
    query = select(ReportWithdrawal.submission_id).where(named == key.id)
    return session.scalar(query.where(ReportWithdrawal.clinic_id == clinic_id).limit(1)) is not None


def withdrawals(
    session: Session,
    *,
    clinic_id: str,
    since: datetime | None,
    after: PageKey | None,
    limit: int,
) -> list[Withdrawal]:
    """At most `limit` withdrawals behind `after`, newest first."""
    place = (ReportWithdrawal.withdrawn_at, ReportWithdrawal.submission_id)
    query = select(ReportWithdrawal).where(ReportWithdrawal.clinic_id == clinic_id)
    if since is not None:
        query = query.where(ReportWithdrawal.withdrawn_at >= since)
    if after is not None:
        query = query.where(tuple_(*place) < (after.at, after.case_id))
    query = query.order_by(*(column.desc() for column in place)).limit(limit)
    return [Withdrawal(one.submission_id, one.withdrawn_at) for one in session.scalars(query)]


def search(
    session: Session, *, clinic_id: str, query: ReportQuery, after: PageKey | None, limit: int
) -> Sequence[SignedReport]:
    """At most `limit` reports behind `after`, newest (see PageKey) first."""
    found = _matching(clinic_id, query)
    if found is None or limit == 0:
        return []
    at, case_id = _SENDING if query.by_sending else _SIGNING
    if after is not None:
        found = found.where(tuple_(at, case_id) < (after.at, after.case_id))
    found = found.order_by(at.desc(), case_id.desc()).limit(limit)
    return session.scalars(found).all()


def count(session: Session, *, clinic_id: str, query: ReportQuery, limit: int | None = None) -> int:
    """How many reports match; with a `limit` counting stops there."""
    found = _matching(clinic_id, query)
    if found is None:
        return 0
    ids = found.with_only_columns(SignedReport.id).limit(limit).subquery()
    return session.scalar(select(func.count()).select_from(ids)) or 0


def _of_clinic(clinic_id: str) -> Found:
    """The newest version of each report with its case, patient and signer, in one query."""
    case = joinedload(SignedReport.submission, innerjoin=True)
    return (
        select(SignedReport)
        .where(SignedReport.clinic_id == clinic_id, is_newest())
        .options(case.joinedload(Submission.patient, innerjoin=True))
        .options(joinedload(SignedReport.signer, innerjoin=True))
    )


def _matching(clinic_id: str, query: ReportQuery) -> Found | None:
    """The query's conditions; None when nothing can match."""
    if query.nothing or not query.statuses:
        return None
    found = _of_clinic(clinic_id)
    if not query.statuses >= set(SIGNED_STATUSES):
        found = found.where(SignedReport.status.in_(query.statuses))
    if query.patient_id is not None:
        found = found.where(SignedReport.patient_id == query.patient_id)
    if query.patient_identifiers:
        numbers = [_record_number(token) for token in query.patient_identifiers]
        known = [number for number in numbers if number is not None]
        patients = select(Patient.id).where(Patient.record_number.in_(known))
        found = found.where(SignedReport.patient_id.in_(patients))
    if query.case_ids is not None:
        found = found.where(SignedReport.submission_id.in_(query.case_ids))
    found = _within(found, SignedReport.signed_at, query.signed.start, query.signed.end)
    if query.by_sending:
        found = found.join(Submission, Submission.id == SignedReport.submission_id)
        found = found.where(Submission.clinic_id == clinic_id, _SIGNED)
        sent = query.effective
        found = _within(found, Submission.received_at, sent.start, sent.end)
    return found


def _within(
    found: Found,
    column: InstrumentedAttribute[datetime],
    start: datetime | None,
    end: datetime | None,
) -> Found:
    if start is not None:
        found = found.where(column >= start)
    if end is not None:
        found = found.where(column < end)
    return found


def _record_number(token: Token) -> str | None:
    return token.value if token.system in {None, PATIENT_IDENTIFIER_SYSTEM} else None


def _has_photo(object_id: str) -> ColumnElement[bool]:
    owner = select(SealedObject.submission_id).where(
        SealedObject.id == object_id, SealedObject.kind == "photo"
    )
    return SignedReport.submission_id.in_(owner)


def _used_device(wanted: str) -> ColumnElement[bool]:
    """A hex fingerprint is its own device id."""
    used = select(ScreeningResult.submission_id).where(
        ScreeningResult.model_fingerprint == device_id(wanted)
    )
    return SignedReport.submission_id.in_(used)
