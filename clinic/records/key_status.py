"""What there is of each kind of key, for the engineer: ids, periods, and what still needs them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.records import keys, stored_keys
from clinic.records.db import database_now
from clinic.records.key_destruction import objects_listing
from clinic.records.models import EpochKeyRow, MasterKeyHead, PatientKey, ProcessKey


@dataclass(frozen=True)
class EpochState:
    """`state`: next, valid, ended or destroyed; `objects` are those still sealed to it."""

    kid: str
    state: str
    not_before: datetime
    not_after: datetime
    objects: int


@dataclass(frozen=True)
class KeyStatus:
    """`patient_keys`: living, destroyed. `master_keys`: how many keys each one wraps."""

    epochs: tuple[EpochState, ...]
    next_epoch: bool
    patient_keys: tuple[int, int]
    master_keys: dict[str, int]
    current_master: str | None
    without_copy: int
    processes: dict[str, int]


def status(session: Session) -> KeyStatus:
    now = database_now(session)
    head = session.get(MasterKeyHead, 1)
    rows = session.scalars(select(EpochKeyRow).order_by(EpochKeyRow.not_before))
    return KeyStatus(
        epochs=tuple(_epoch(session, row, now) for row in rows),
        next_epoch=keys.has_next_epoch(session),
        patient_keys=_patient_keys(session),
        master_keys=stored_keys.by_master_key(session),
        current_master=head.key_id if head else None,
        without_copy=stored_keys.without_emergency_copy(session),
        processes=_processes(session),
    )


def _epoch(session: Session, row: EpochKeyRow, now: datetime) -> EpochState:
    state = _state(row, now)
    objects = 0 if state == "destroyed" else objects_listing(session, row.kid)
    return EpochState(row.kid, state, row.not_before, row.not_after, objects)


def _state(row: EpochKeyRow, now: datetime) -> str:
    if row.destroyed_at is not None:
        return "destroyed"
    if row.not_after <= now:
        return "ended"
    return "valid" if row.not_before <= now else "next"


def _patient_keys(session: Session) -> tuple[int, int]:
    query = select(func.count(PatientKey.wrapped), func.count(PatientKey.destroyed_at))
    living, destroyed = session.execute(query).one()
    return living, destroyed


def _processes(session: Session) -> dict[str, int]:
    query = select(ProcessKey.program, func.count()).group_by(ProcessKey.program)
    return {program: count for program, count in session.execute(query)}  # noqa: C416 - rows
