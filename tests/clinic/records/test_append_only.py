"""The audit chain cannot be changed in the database, not even by the tables' owner."""

import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import DBAPIError

from clinic.audit_event import AuditAction
from clinic.records import audit_log
from clinic.records.audit_log import Auditor
from clinic.records.db import SessionFactory, every_clinic_sessions
from clinic.records.models import AuditEntry, AuditHead

AUDITOR = Auditor(b"a" * 32)


@pytest.fixture
def chain(migrated: Engine) -> SessionFactory:
    sessions = every_clinic_sessions(migrated)
    with sessions() as session, session.begin():
        for _ in range(3):
            AUDITOR.record(session, AuditAction.CASE_READ, "somebody")
    return sessions


CHANGES = {
    "an entry is changed": update(AuditEntry).where(AuditEntry.sequence == 2).values(actor="x"),
    "an entry is deleted": delete(AuditEntry).where(AuditEntry.sequence == 2),
    "the tail is cut": delete(AuditEntry).where(AuditEntry.sequence > 1),
    "the head is set back": update(AuditHead).values(sequence=1),
    "the head is deleted": delete(AuditHead),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_database_refuses_what_is_not_an_addition(chain: SessionFactory, name: str) -> None:
    with chain() as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(CHANGES[name])

    with chain() as session:
        assert session.scalars(select(AuditEntry.sequence)).all() == [1, 2, 3]
        assert audit_log.verify(session, AUDITOR.key) is None


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["audit_entry", "audit_head"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_table_of_the_chain_cannot_be_emptied(chain: SessionFactory, table: str) -> None:
    with chain() as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(f"TRUNCATE {table}"))


def test_the_chain_goes_on(chain: SessionFactory) -> None:
    with chain() as session, session.begin():
        AUDITOR.record(session, AuditAction.CASE_READ, "somebody")
    with chain() as session:
        assert audit_log.verify(session, AUDITOR.key) is None
