"""The walk along the audit chain: slice by slice, for ever, its finding kept."""

import pytest

from clinic.audit_event import AuditAction
from clinic.records.models import AuditCheck, AuditEntry
from tests.world import World
from worker import audit_walk
from worker.audit_walk import AuditWalker


@pytest.fixture
def walker(world: World, monkeypatch: pytest.MonkeyPatch) -> AuditWalker:
    monkeypatch.setattr(audit_walk, "SLICE", 2)
    with world.sessions() as session, session.begin():
        for _ in range(5):
            world.auditor.record(session, AuditAction.OPERATIONS_READ, "erin")
    return AuditWalker(world.sessions, world.auditor.key)


def finding(world: World) -> tuple[int, str | None] | None:
    with world.sessions() as session:
        row = session.get(AuditCheck, 1)
        return (row.entries, row.problem) if row else None


def test_a_finding_is_kept_when_the_end_is_reached(world: World, walker: AuditWalker) -> None:
    for seen in (None, None, (5, None)):
        walker.step()
        assert finding(world) == seen


def test_each_walk_begins_at_the_first_entry(world: World, walker: AuditWalker) -> None:
    for _ in range(3):
        walker.step()
    with world.sessions() as session, session.begin():
        session.get_one(AuditEntry, 1).actor = "somebody else"
    walker.step()

    assert finding(world) == (0, "Entry 1 was changed.")
