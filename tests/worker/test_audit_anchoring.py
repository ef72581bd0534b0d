"""Anchors outside the database show what the chain alone cannot."""

from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from clinic.audit_anchor import AnchorError, AnchorFile
from clinic.audit_event import GENESIS, AuditAction, chain_mac
from clinic.installation_key import InstallationKey, InstallationPublicKey
from clinic.records import audit_log
from clinic.records.audit_log import Auditor
from clinic.records.db import SessionFactory
from clinic.records.models import AuditEntry, AuditHead
from clinic.records.operations import audit_chain
from worker.audit_anchoring import AuditAnchoring
from worker.audit_walk import AuditWalker

KEY = InstallationKey(b"i" * 32)
AUDITOR = Auditor(b"a" * 32)


@pytest.fixture
def anchoring(sessions: SessionFactory, tmp_path: Path) -> AuditAnchoring:
    return AuditAnchoring(sessions, AnchorFile(tmp_path / "anchors.jsonl"), KEY)


def record(
    sessions: SessionFactory, count: int, action: AuditAction = AuditAction.CASE_READ
) -> None:
    with sessions() as session, session.begin():
        for _ in range(count):
            AUDITOR.record(session, action, "somebody")


def set_back(sessions: SessionFactory, to: int) -> None:
    """The tail and its head go back together, as an older copy of the database does."""
    with sessions() as session, session.begin():
        mac = session.scalar(select(AuditEntry.mac).where(AuditEntry.sequence == to))
        session.execute(delete(AuditEntry).where(AuditEntry.sequence > to))
        session.execute(update(AuditHead).values(sequence=to, mac=mac))


def write_anew(sessions: SessionFactory, changed: int) -> None:
    """Somebody who has the audit key changes an entry and links all that follows anew."""
    with sessions() as session, session.begin():
        session.get_one(AuditEntry, changed).actor = "somebody else"
        mac = GENESIS
        for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.sequence)):
            event = audit_log._event(entry)
            mac = chain_mac(AUDITOR.key, previous=mac, sequence=entry.sequence, event=event)
            entry.mac = mac
        session.get_one(AuditHead, 1).mac = mac


def verify(sessions: SessionFactory, anchoring: AuditAnchoring, *, anchored: bool) -> str | None:
    anchors = anchoring.file.read(InstallationPublicKey.of(KEY.public)) if anchored else []
    with sessions() as session:
        return audit_log.verify(session, AUDITOR.key, anchors)


def test_an_anchor_is_set_only_when_the_chain_has_grown(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    assert not anchoring.step()
    record(sessions, 3)
    assert anchoring.step()
    assert not anchoring.step()
    record(sessions, 1)
    assert anchoring.step()

    anchors = anchoring.file.read(InstallationPublicKey.of(KEY.public))
    assert [one.sequence for one in anchors] == [3, 4]
    assert verify(sessions, anchoring, anchored=True) is None
    assert anchoring.problem() is None


def test_a_tail_that_was_cut_with_its_head_is_seen(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    record(sessions, 5)
    anchoring.step()
    set_back(sessions, 3)

    assert verify(sessions, anchoring, anchored=False) is None
    found = verify(sessions, anchoring, anchored=True)
    assert found is not None
    assert found.startswith("Entry 4 is missing, and all up to 5: the anchor of ")


def test_a_chain_that_was_written_anew_with_the_key_is_seen(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    for count in (3, 3):
        record(sessions, count)
        anchoring.step()
    write_anew(sessions, 5)

    assert verify(sessions, anchoring, anchored=False) is None
    found = verify(sessions, anchoring, anchored=True)
    assert found is not None
    assert found.startswith("Entry 4 is not the one that was written, or one of those up to 6: ")


def test_an_older_chain_of_a_restore_is_told_clearly(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    record(sessions, 3)
    anchoring.step()
    record(sessions, 4)
    anchoring.step()
    set_back(sessions, 4)
    record(sessions, 1, AuditAction.BACKUP_RESTORED)

    found = verify(sessions, anchoring, anchored=True)
    assert found is not None
    assert "Entry 6 is missing, and all up to 7" in found
    assert "Entry 5 says that a backup was restored" in found


def test_after_a_break_no_anchor_is_added(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    record(sessions, 5)
    anchoring.step()
    set_back(sessions, 3)
    record(sessions, 9)

    assert not anchoring.step()
    assert len(anchoring.file.read(InstallationPublicKey.of(KEY.public))) == 1


def test_the_walk_tells_what_the_anchors_say(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    record(sessions, 5)
    anchoring.step()
    walker = AuditWalker(sessions, AUDITOR.key, outside=anchoring.problem)
    walker.step()
    with sessions() as session:
        assert audit_chain(session).problem is None

    set_back(sessions, 2)
    walker.step()
    with sessions() as session:
        problem = audit_chain(session).problem
    assert problem is not None
    assert problem.startswith("Entry 3 is missing")


def test_a_changed_file_of_anchors_is_told(
    sessions: SessionFactory, anchoring: AuditAnchoring
) -> None:
    record(sessions, 2)
    anchoring.step()
    anchoring.file.path.write_text(anchoring.file.path.read_text().replace('"sequence": 2', "x"))

    problem = anchoring.problem()
    assert problem is not None
    assert "was changed" in problem
    with pytest.raises(AnchorError):
        anchoring.step()
