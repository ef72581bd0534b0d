"""The audit chain in the database: written in the caller's transaction, verified row by row."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Insert, ScalarResult, Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from clinic.audit_anchor import Anchor
from clinic.audit_event import GENESIS, AuditAction, AuditEvent, chain_mac
from clinic.json_log import EXTRA, case_reference
from clinic.records.db import database_now
from clinic.records.models import AuditCheck, AuditEntry, AuditHead

_log = logging.getLogger(__name__)
_KNOWN_ACTIONS = frozenset(action.value for action in AuditAction)

RECORDED = "audit entries of this transaction"  # the key in `Session.info` of what `record` wrote


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
        self.record_all(session, action, actor, [about])

    def record_all(
        self,
        session: Session,
        action: AuditAction,
        actor: str,
        abouts: Iterable[Mapping[str, str | bool | None]],
    ) -> None:
        """Add one entry for each of `abouts`, in their order; as `record` in all else."""
        now = database_now(session)
        session.flush()
        head = _locked_head(session)
        for about in abouts:
            event = AuditEvent(at=now, action=action, actor=actor, **about)  # type: ignore[arg-type]
            head.sequence += 1
            head.mac = chain_mac(self.key, previous=head.mac, sequence=head.sequence, event=event)
            session.add(_entry(head.sequence, event, head.mac))
            fields = {"case": case_reference(event.submission_id)} if event.submission_id else {}
            _log.info(action, extra={EXTRA: fields})
        session.flush()
        session.info[RECORDED] = True


def _locked_head(session: Session) -> AuditHead:
    query = select(AuditHead).where(AuditHead.id == 1).with_for_update()
    query = query.execution_options(populate_existing=True)
    head = session.scalar(query)
    if head is not None:
        return head
    # Of two first writers the second waits here for the first, and then finds its row.
    session.execute(_first_head(session))
    return session.scalars(query).one()


def _first_head(session: Session) -> Insert:
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    row = {"id": 1, "sequence": 0, "mac": GENESIS}
    statement: Insert = dialect.insert(AuditHead).values(row).on_conflict_do_nothing()
    return statement


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


def verify(session: Session, key: bytes, anchors: Iterable[Anchor] = ()) -> str | None:
    """None when the chain holds, else a sentence that names the first entry that is wrong.

    `anchors`, oldest first, show what the chain alone cannot: that it was set back with its head,
    or written anew by somebody who has the key.
    """
    before = _head(session)
    last = (0, GENESIS)
    with closing(_in_order(session)) as entries:
        for entry in entries:
            problem = _link_problem(entry, key, last=last, head=before)
            if problem is not None:
                return problem
            last = (entry.sequence, entry.mac)
    problem = _tail_problem(before=before, last=last, after=_head(session))
    return problem or anchor_problem(session, anchors)


def anchor_now(session: Session) -> Anchor:
    """The chain's head at this moment."""
    return Anchor(*_head(session), at=database_now(session))


def anchor_problem(session: Session, anchors: Iterable[Anchor]) -> str | None:
    """None when each anchor names an entry of the chain, else a sentence about the first."""
    held = 0
    for anchor in anchors:
        mac = session.scalar(select(AuditEntry.mac).where(AuditEntry.sequence == anchor.sequence))
        if mac != anchor.mac and anchor.sequence > 0:
            return _broken_anchor(session, anchor, held=held, is_gone=mac is None)
        held = anchor.sequence
    return None


def _broken_anchor(session: Session, anchor: Anchor, *, held: int, is_gone: bool) -> str:
    last, at = _head(session)[0], f"{anchor.at:%Y-%m-%d %H:%M} UTC"
    if is_gone:
        words = (
            f"Entry {last + 1} is missing, and all up to {anchor.sequence}: the anchor of {at} "
            f"names entry {anchor.sequence}, and the chain ends with {last}."
        )
    else:
        words = (
            f"Entry {held + 1} is not the one that was written, or one of those up to "
            f"{anchor.sequence}: the anchor of {at} names another entry {anchor.sequence}."
        )
    restored = session.scalar(
        select(AuditEntry.sequence)
        .where(AuditEntry.action == AuditAction.BACKUP_RESTORED, AuditEntry.sequence > held)
        .limit(1)
    )
    if restored is None:
        return f"{words} If an older copy of the database was put back, that explains it."
    return (
        f"{words} Entry {restored} says that a backup was restored, so what followed the backup is "
        "lost. Move the file of anchors away and keep it; a new one begins."
    )


@dataclass(frozen=True)
class Walk:
    """How far a walk along the chain has come: the last entry that held, and what it found.

    `whole`: it is over, at the chain's end or at the first entry that is wrong.
    """

    sequence: int = 0
    mac: str = GENESIS
    problem: str | None = None
    whole: bool = False


def walk_on(session: Session, key: bytes, walk: Walk, *, limit: int) -> Walk:
    """Verify the next `limit` entries after `walk`; the end is compared with the head."""
    before, last = _head(session), (walk.sequence, walk.mac)
    following = select(AuditEntry).where(AuditEntry.sequence > last[0])
    entries = session.scalars(following.order_by(AuditEntry.sequence).limit(limit)).all()
    for entry in entries:
        problem = _link_problem(entry, key, last=last, head=before)
        if problem is not None:
            return Walk(*last, problem=problem, whole=True)
        last = (entry.sequence, entry.mac)
    if len(entries) == limit:
        return Walk(*last)
    return Walk(*last, _tail_problem(before=before, last=last, after=_head(session)), whole=True)


def keep_finding(session: Session, walk: Walk) -> None:
    """Keep what a whole walk found, for the operations page and the alerts."""
    found = AuditCheck(
        id=1, entries=walk.sequence, checked_at=database_now(session), problem=walk.problem
    )
    session.merge(found)


def _link_problem(
    entry: AuditEntry, key: bytes, *, last: tuple[int, str], head: tuple[int, str]
) -> str | None:
    expected, previous = last[0] + 1, last[1]
    if entry.sequence != expected:
        return f"Entry {expected} is missing: the chain goes on with {entry.sequence}."
    if entry.mac != _mac_of(entry, key, previous):
        return f"Entry {entry.sequence} was changed."
    if entry.sequence == head[0] and entry.mac != head[1]:
        return f"Entry {entry.sequence} is not the one that the chain's head names."
    return None


def _tail_problem(
    *, before: tuple[int, str], last: tuple[int, str], after: tuple[int, str]
) -> str | None:
    """Compare the last entry with the head, read on both sides of it: entries may have come."""
    if last[0] < before[0]:
        return f"Entry {last[0] + 1} is missing: the chain's head stands at {before[0]}."
    if after[0] < last[0] or (after[0] == last[0] and after[1] != last[1]):
        return f"The chain's head does not name entry {last[0]}, the last one."
    return None


def _head(session: Session) -> tuple[int, str]:
    head = session.get(AuditHead, 1, populate_existing=True)
    return (head.sequence, head.mac) if head else (0, GENESIS)


def _mac_of(entry: AuditEntry, key: bytes, previous: str) -> str | None:
    """What the entry's MAC must be; None for an action that nobody can have written."""
    if entry.action not in _KNOWN_ACTIONS:
        return None
    return chain_mac(key, previous=previous, sequence=entry.sequence, event=_event(entry))


def _in_order(session: Session) -> ScalarResult[AuditEntry]:
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


def names_case(session: Session, submission_id: str, *, clinic_id: str) -> bool:
    """Whether this clinic ever had a case with this id."""
    query = select(AuditEntry.sequence).where(AuditEntry.submission_id == submission_id)
    return session.scalar(query.where(AuditEntry.clinic_id == clinic_id).limit(1)) is not None


@dataclass(frozen=True)
class AuditQuery:
    """What a search asks for. `reference` is how a case's id begins; times are half open."""

    clinic_id: str
    action: str | None = None
    actor: str | None = None
    patient_id: str | None = None
    reference: str | None = None
    allowed: bool | None = None
    start: datetime | None = None
    end: datetime | None = None


def search(
    session: Session, *, query: AuditQuery, before: int | None, limit: int
) -> list[AuditEntry]:
    """A clinic's entries, newest first, by key set (`before` is a sequence number)."""
    found = _matching(query)
    if before is not None:
        found = found.where(AuditEntry.sequence < before)
    return list(session.scalars(found.order_by(AuditEntry.sequence.desc()).limit(limit)))


def _matching(query: AuditQuery) -> Select[AuditEntry]:
    found = select(AuditEntry).where(AuditEntry.clinic_id == query.clinic_id)
    equal = {
        AuditEntry.action: query.action,
        AuditEntry.actor: query.actor,
        AuditEntry.patient_id: query.patient_id,
        AuditEntry.allowed: query.allowed,
    }
    for column, value in equal.items():
        if value is not None:
            found = found.where(column == value)
    if query.reference is not None:
        found = found.where(AuditEntry.submission_id.startswith(query.reference, autoescape=True))
    if query.start is not None:
        found = found.where(AuditEntry.at >= query.start)
    if query.end is not None:
        found = found.where(AuditEntry.at < query.end)
    return found


def all_since(session: Session, start: datetime | None) -> Iterator[tuple[int, AuditEvent]]:
    """Every entry from a moment on, in the chain's order, with its place."""
    query = select(AuditEntry).order_by(AuditEntry.sequence)
    if start is not None:
        query = query.where(AuditEntry.at >= start)
    for entry in session.scalars(query.execution_options(yield_per=1000)):
        yield entry.sequence, _event(entry)
