"""Faults of the audit chain: somebody with the database's password changes what it says."""

from collections.abc import Callable

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from clinic.records import audit_log
from clinic.records.models import AuditEntry, AuditHead
from tools.chaos.fault import Fault
from tools.chaos.scene import Scene

FEWEST_ENTRIES = 8


def tamper_with_audit(scene: Scene) -> None:
    """Each kind of tampering in a transaction of its own, which is rolled back after the look."""
    _named(scene, _change_actor, lambda last: last - 3)
    _named(scene, _delete_entry, lambda last: last - 3)
    _named(scene, _swap_entries, lambda last: last - 4)
    _named(scene, _cut_tail, lambda last: last - 1)
    _named(scene, _forge_entry, lambda last: last + 1)


def _named(
    scene: Scene, tamper: Callable[[Session, int], None], place: Callable[[int], int]
) -> None:
    with scene.sessions() as session:
        last = _last(session)
        scene.must(last >= FEWEST_ENTRIES, f"The audit chain has {last} entries only.")
        _switch_triggers_off(session)
        tamper(session, last)
        found = audit_log.verify(session, scene.installation.auditor().key)
        session.rollback()
    words = f"After {tamper.__name__.strip('_')} the check says: {found}"
    scene.must(found is not None and str(place(last)) in found, words)


def _last(session: Session) -> int:
    session.get(AuditHead, 1, with_for_update=True)  # nobody writes while we look
    return session.scalar(select(func.max(AuditEntry.sequence))) or 0


def _change_actor(session: Session, last: int) -> None:
    one = update(AuditEntry).where(AuditEntry.sequence == last - 3)
    session.execute(one.values(actor="somebody else"))


def _delete_entry(session: Session, last: int) -> None:
    session.execute(delete(AuditEntry).where(AuditEntry.sequence == last - 3))


def _swap_entries(session: Session, last: int) -> None:
    """Two neighbours change places, each with its MAC."""
    for old, new in ((last - 4, -1), (last - 3, last - 4), (-1, last - 3)):
        one = update(AuditEntry).where(AuditEntry.sequence == old)
        session.execute(one.values(sequence=new))


def _cut_tail(session: Session, last: int) -> None:
    session.execute(delete(AuditEntry).where(AuditEntry.sequence >= last - 1))


def _forge_entry(session: Session, last: int) -> None:
    """A copy of an entry at the end, and the head moved on with it."""
    copied = session.scalars(select(AuditEntry).where(AuditEntry.sequence == last)).one()
    columns = {column.name: getattr(copied, column.name) for column in AuditEntry.__table__.columns}
    session.add(AuditEntry(**{**columns, "sequence": last + 1}))
    head = session.get_one(AuditHead, 1)
    head.sequence, head.mac = last + 1, copied.mac
    session.flush()


def _switch_triggers_off(session: Session) -> None:
    """Only who owns the tables can; the rollback after the look switches them on again."""
    if session.get_bind().dialect.name == "sqlite":
        triggers = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        statements = [f'DROP TRIGGER "{name}"' for name in session.scalars(triggers)]
    else:
        tables = (AuditEntry.__tablename__, AuditHead.__tablename__)
        statements = [f"ALTER TABLE {name} DISABLE TRIGGER USER" for name in tables]
    for statement in statements:
        session.execute(text(statement))


def change_what_is_append_only(scene: Scene) -> None:
    """The database itself refuses every change, also to who has the programs' password."""
    for tamper in (_change_actor, _delete_entry, _cut_tail):
        with scene.sessions() as session:
            last = _last(session)
            try:
                tamper(session, last)
            except DBAPIError as refusal:
                refused = "append-only" in str(refusal)
            else:
                refused = False
            session.rollback()
        scene.must(refused, f"The database let somebody {tamper.__name__.strip('_')}.")


def cut_audit_with_its_head(scene: Scene) -> None:
    """What the chain alone cannot show: tail and head go back together to an earlier state."""
    with scene.sessions() as session:
        last = _last(session)
        anchor = audit_log.anchor_now(session)
        _switch_triggers_off(session)
        kept = session.scalars(select(AuditEntry).where(AuditEntry.sequence == last - 2)).one()
        _cut_tail(session, last)
        head = session.get_one(AuditHead, 1)
        head.sequence, head.mac = kept.sequence, kept.mac
        session.flush()
        key = scene.installation.auditor().key
        alone = audit_log.verify(session, key)
        anchored = audit_log.verify(session, key, [anchor])
        session.rollback()
    scene.must(alone is None, f"This was not to be seen without an anchor outside: {alone}")
    named = anchored is not None and f"Entry {last - 1} is missing" in anchored
    scene.must(named, f"With an anchor from before the check says: {anchored}")


FAULTS = (
    Fault(
        28,
        "audit entries changed, deleted, swapped, cut, forged",
        "the check names the entry",
        tamper_with_audit,
    ),
    Fault(
        28,
        "audit chain and its head set back together",
        "an anchor outside the database names the first entry that is missing",
        cut_audit_with_its_head,
    ),
    Fault(
        28,
        "audit entries changed past the programs",
        "the database refuses it",
        change_what_is_append_only,
    ),
)
