"""The faults of the audit chain over migrated tables, where the database itself refuses changes."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from clinic.audit_event import AuditAction
from clinic.records.audit_log import Auditor
from clinic.records.db import every_clinic_sessions
from tools.chaos.faults_of_the_audit import FAULTS

AUDITOR = Auditor(b"a" * 32)


@pytest.fixture
def scene(migrated: Engine) -> Any:
    """What the faults need of a running installation: a chain, and a place for what they find."""
    sessions = every_clinic_sessions(migrated)
    with sessions() as session, session.begin():
        for _ in range(12):
            AUDITOR.record(session, AuditAction.CASE_READ, "somebody")
    installation = SimpleNamespace(auditor=lambda: AUDITOR)
    return SimpleNamespace(sessions=sessions, installation=installation, must=must)


def must(holds: object, words: str) -> None:
    assert holds, words


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_each_fault_of_the_chain_is_noticed(fault: Any, scene: Any) -> None:
    fault.inject(scene)
