"""The audit chain in the database: written in the caller's transaction, verified row by row."""

from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import ScalarResult, select
from sqlalchemy.orm import Session

from clinic.audit_event import GENESIS, AuditAction, AuditEvent, chain_mac
from clinic.records.db import database_now
from clinic.records.models import AuditEntry, AuditHead


@dataclass(frozen=True)
class Auditor:
    """Writes entries under the audit key."""

    key: bytes

    def record(
        self, session: Session, action: AuditAction, actor: str, **about: str | bool | None
    ) -> None:
        """Add one entry to the chain. Call it last: the chain's head stays locked until commit.

        `about` may hold clinic_id, patient_id, submission_id, allowed and detail (see AuditEvent).
        """
        event = AuditEvent(at=database_now(session), action=action, actor=actor, **about)  # type: ignore[arg-type]
        session.flush()
        head = session.scalar(
            select(AuditHead)
            .where(AuditHead.id == 1)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        if head is None:
            head = AuditHead(id=1, sequence=0, mac=GENESIS)
            session.add(head)
        sequence = head.sequence + 1
        mac = chain_mac(self.key, previous=head.mac, sequence=sequence, event=event)
        session.add(_entry(sequence, event, mac))
        head.sequence, head.mac = sequence, mac
        session.flush()


def _entry(sequence: int, event: AuditEvent, mac: str) -> AuditEntry:
    return AuditEntry(
        sequence=sequence,
        at=event.at,
        action=event.action,
        actor=event.actor,
        clinic_id=event.clinic_id,
        patient_id=event.patient_id,
        submission_id=event.submission_id,
        allowed=event.allowed,
        detail=event.detail,
        mac=mac,
    )


def verify(session: Session, key: bytes) -> str | None:
    """None when the chain holds, else a sentence that names the first entry that is wrong."""
    previous, expected = GENESIS, 1
    with closing(_in_order(session)) as entries:
        for entry in entries:
            if entry.sequence != expected:
                return f"Entry {expected} is missing: the chain goes on with {entry.sequence}."
            mac = chain_mac(key, previous=previous, sequence=entry.sequence, event=_event(entry))
            if mac != entry.mac:
                return f"Entry {entry.sequence} was changed."
            previous, expected = entry.mac, expected + 1
    head = session.get(AuditHead, 1)
    if head is not None and (head.sequence, head.mac) != (expected - 1, previous):
        return f"Entry {expected} is missing: the chain's head stands at {head.sequence}."
    return None


def _in_order(session: Session) -> ScalarResult[AuditEntry]:
    """All entries, in portions from a cursor of the server that the caller closes."""
    return session.scalars(
        select(AuditEntry)
        .order_by(AuditEntry.sequence)
        .execution_options(yield_per=1000, populate_existing=True)
    )


def _event(entry: AuditEntry) -> AuditEvent:
    return AuditEvent(
        at=entry.at,
        action=AuditAction(entry.action),
        actor=entry.actor,
        clinic_id=entry.clinic_id,
        patient_id=entry.patient_id,
        submission_id=entry.submission_id,
        allowed=entry.allowed,
        detail=entry.detail,
    )


def about_patient(session: Session, patient_id: str, *, limit: int) -> list[AuditEntry]:
    """Who touched this patient's record, newest first."""
    query = select(AuditEntry).where(AuditEntry.patient_id == patient_id)
    return list(session.scalars(query.order_by(AuditEntry.sequence.desc()).limit(limit)))


@dataclass(frozen=True)
class AuditQuery:
    """`reference` is how a case's id begins."""

    clinic_id: str
    action: str | None = None
    actor: str | None = None
    reference: str | None = None


def search(
    session: Session, *, query: AuditQuery, before: int | None, limit: int
) -> list[AuditEntry]:
    """A clinic's entries, newest first, by key set (`before` is a sequence number)."""
    found = select(AuditEntry).where(AuditEntry.clinic_id == query.clinic_id)
    if query.action is not None:
        found = found.where(AuditEntry.action == query.action)
    if query.actor is not None:
        found = found.where(AuditEntry.actor == query.actor)
    if query.reference is not None:
        found = found.where(AuditEntry.submission_id.startswith(query.reference, autoescape=True))
    if before is not None:
        found = found.where(AuditEntry.sequence < before)
    return list(session.scalars(found.order_by(AuditEntry.sequence.desc()).limit(limit)))
