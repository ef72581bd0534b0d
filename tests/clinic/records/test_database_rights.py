"""The programs' role adds to the audit chain and works with every other table; no more."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import ProgrammingError

from clinic.audit_event import AuditAction
from clinic.records import audit_log
from clinic.records.audit_log import Auditor
from clinic.records.database_rights import RightsError, let_programs_in
from clinic.records.db import SessionFactory, every_clinic_sessions, make_engine
from clinic.records.models import AuditEntry, AuditHead, Clinic
from web.schema import newest_revision, upgrade

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]
AUDITOR = Auditor(b"a" * 32)
OWNER, PROGRAMS = "dermqueue@", "dermqueue_test_programs:secret@"


@pytest.fixture
def owner(database_url: str) -> Iterator[Engine]:
    """The tables, as their owner makes them, with the role of the programs beside it."""
    engine = make_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "head")
        let_programs_in(connection, database_url.replace(OWNER, PROGRAMS))
    yield engine
    engine.dispose()


@pytest.fixture
def programs(owner: Engine, database_url: str) -> Iterator[SessionFactory]:
    """Sessions of a running program."""
    del owner
    engine = make_engine(database_url.replace(OWNER, PROGRAMS))
    sessions = every_clinic_sessions(engine)
    with sessions() as session, session.begin():
        session.add(Clinic(name="A clinic", phone="0"))
        for _ in range(3):
            AUDITOR.record(session, AuditAction.CASE_READ, "somebody")
    yield sessions
    engine.dispose()


def test_a_program_writes_and_verifies_the_chain_and_works_with_its_tables(
    programs: SessionFactory,
) -> None:
    with programs() as session, session.begin():
        session.execute(update(Clinic).values(phone="1"))
        session.execute(delete(Clinic))
        AUDITOR.record(session, AuditAction.CASE_READ, "somebody")
    with programs() as session:
        assert audit_log.verify(session, AUDITOR.key) is None
        assert session.scalars(select(AuditEntry.sequence)).all() == [1, 2, 3, 4]
        assert newest_revision(session.connection())


FORBIDDEN = {
    "change an entry": update(AuditEntry).values(actor="x"),
    "delete an entry": delete(AuditEntry),
    "empty the chain": text("TRUNCATE audit_entry"),
    "delete the head": delete(AuditHead),
    "switch the triggers off": text("ALTER TABLE audit_entry DISABLE TRIGGER ALL"),
    "switch triggers off for a session": text("SET session_replication_role = replica"),
    "drop the chain": text("DROP TABLE audit_entry"),
    "pretend another version": text("UPDATE alembic_version SET version_num = 'x'"),
    "make a role": text("CREATE ROLE somebody_else SUPERUSER"),
}


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_program_can_not(programs: SessionFactory, deed: str) -> None:
    with programs() as session, pytest.raises(ProgrammingError, match=r"permission denied|must be"):
        session.execute(FORBIDDEN[deed])


def test_doing_it_again_changes_nothing(owner: Engine, database_url: str) -> None:
    with owner.begin() as connection:
        let_programs_in(connection, database_url.replace(OWNER, PROGRAMS))


@pytest.mark.parametrize("role", ["dermqueue:secret@", "nobody@"])
def test_the_owner_and_a_role_without_a_password_are_refused(
    owner: Engine, database_url: str, role: str
) -> None:
    with owner.begin() as connection, pytest.raises(RightsError):
        let_programs_in(connection, database_url.replace(OWNER, role))
