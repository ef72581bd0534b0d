"""The end of epoch keys: destroyed once their period is long over and no object lists them.

What is still sealed to an epoch key alone would be lost with it, so every object moves under its
patient's key first (worker/keeper.py), however its case ended.
"""

from contextlib import suppress
from datetime import timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.records.audit_log import Auditor
from clinic.records.db import database_now
from clinic.records.models import EpochKeyRow, SealedObject

# A request that began within the period must have ended.
EARLIEST = timedelta(hours=1)


class KeyStillNeededError(Exception):
    """The key may not be destroyed yet; the message says why."""


def objects_listing(session: Session, kid: str) -> int:
    """How many objects are still sealed to this epoch key.

    Objects that have not moved are asked first, by their index: they are few. The whole table is
    read only where none of them lists the key.
    """
    waiting = _count(session, kid, SealedObject.settled.is_(False))
    return waiting or _count(session, kid)


def _count(session: Session, kid: str, *conditions: ColumnElement[bool]) -> int:
    listed = SealedObject.header.contains(kid, autoescape=True)
    query = select(func.count()).select_from(SealedObject).where(*conditions, listed)
    return session.scalar(query) or 0


def destroy_epoch(session: Session, auditor: Auditor, *, kid: str, actor: str) -> None:
    """Destroy the private half of an epoch key, and its emergency copy.

    Raises:
        KeyStillNeededError: there is no such key, it is valid, or an object lists it.

    """
    row = session.get(EpochKeyRow, kid, with_for_update=True)
    if row is None or row.destroyed_at is not None:
        raise KeyStillNeededError(f"There is no epoch key {kid} to destroy.")
    now = database_now(session)
    if now < row.not_after + EARLIEST:
        raise KeyStillNeededError(
            f"The epoch key {kid} is valid until {row.not_after:%Y-%m-%d %H:%M} UTC; it can be "
            "destroyed an hour after that."
        )
    listing = objects_listing(session, kid)
    if listing:
        raise KeyStillNeededError(
            f"{listing} objects are still sealed to the epoch key {kid}. The keeper moves them "
            "under their patients' keys: look at `flask keys status` again when it has."
        )
    row.private_wrapped, row.emergency_copy, row.destroyed_at = None, None, now
    auditor.record(session, AuditAction.EPOCH_KEY_DESTROYED, actor, detail=kid)


def destroy_due_epochs(session: Session, auditor: Auditor, *, kept: timedelta, actor: str) -> int:
    """Destroy every epoch key that ended longer than `kept` ago and that nobody needs."""
    ended = EpochKeyRow.not_after < database_now(session) - max(kept, EARLIEST)
    due = select(EpochKeyRow.kid).where(ended, EpochKeyRow.destroyed_at.is_(None))
    destroyed = 0
    for kid in session.scalars(due).all():
        with suppress(KeyStillNeededError):
            destroy_epoch(session, auditor, kid=kid, actor=actor)
            destroyed += 1
    return destroyed
