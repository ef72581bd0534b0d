"""The wall between clinics: what a request's session reads and writes, and what it refuses."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Engine,
    delete,
    exists,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.orm import Session, aliased, joinedload, lazyload, selectinload, subqueryload
from sqlalchemy.sql.base import ExecutableOption

from clinic.access import Role
from clinic.records import (
    clinic_scope,
    live_answers,
    operations,
    review_queue,
)
from clinic.records.clinic_scope import (
    SHARED,
    ClinicSession,
    NoClinicError,
    OtherClinicError,
    conditions,
)
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    AuditEntry,
    AuditHead,
    Base,
    Clinic,
    Consent,
    EpochKeyRow,
    Patient,
    SignedReport,
    Submission,
)
from clinic.records.review_queue import Filters
from tests.filled_tables import fill
from tests.query_plans import plan_of
from tests.world import World

BOUND = sorted(conditions("any"), key=lambda table: table.__name__)


@pytest.fixture
def both(world: World) -> World:
    """Each clinic has rows in every table that holds a clinic's rows."""
    world.add_person("henry", Role.PATIENT, clinic_id=world.other_clinic_id)
    for patient, reader in ((world.alice, world.bob), (world.henry, world.frank)):
        fill(world, patient, reader)
    return world


@pytest.fixture
def behind(both: World, engine: Engine) -> Iterator[ClinicSession]:
    """A session of a request of the first clinic."""
    with ClinicSession(engine) as session:
        clinic_scope.keep_to(session, both.clinic_id)
        yield session


def key_of(table: type[Base]) -> list[Any]:
    mapper = inspect(table)
    return [mapper.get_property_by_column(one).class_attribute for one in mapper.primary_key]


def keys_of(session: Session, table: type[Base]) -> set[Any]:
    return set(session.execute(select(*key_of(table))).all())


def test_every_table_is_a_clinic_s_or_the_installation_s() -> None:
    tables = {mapper.class_ for mapper in Base.registry.mappers}
    assert set(BOUND) | SHARED == tables, "say in clinic_scope whose the rows of a new table are"
    assert not set(BOUND) & SHARED


def test_each_row_of_each_table_is_seen_by_one_clinic_and_no_other(
    both: World, engine: Engine
) -> None:
    for table in BOUND:
        seen = []
        for clinic_id in (both.clinic_id, both.other_clinic_id):
            with ClinicSession(engine) as session:
                clinic_scope.keep_to(session, clinic_id)
                seen.append(keys_of(session, table))
        with both.sessions() as session:
            every = keys_of(session, table)
            if table is AuditEntry:  # programs of the installation write entries of no clinic
                none = select(AuditEntry.sequence).where(AuditEntry.clinic_id.is_(None))
                every -= set(session.execute(none).all())
        first, second = seen
        assert first, table
        assert second, table
        assert not first & second, table
        assert first | second == every, table


def test_until_a_clinic_is_set_no_clinic_s_row_is_touched(engine: Engine) -> None:
    with ClinicSession(engine) as session:
        for table in BOUND:
            key = key_of(table)[0]
            for statement in (
                select(table),
                select(func.count()).select_from(select(key).subquery()),
                select(EpochKeyRow.kid).where(exists().where(key == EpochKeyRow.kid)),
                update(table).values({key.name: "x"}),
                delete(table),
            ):
                with pytest.raises(NoClinicError, match=table.__tablename__):
                    session.execute(statement)
            with pytest.raises(NoClinicError):
                session.get(table, ("x",) * len(key_of(table)))


def test_what_is_the_installation_s_needs_no_clinic(engine: Engine) -> None:
    with ClinicSession(engine) as session:
        for table in SHARED:
            session.execute(select(table))
        session.execute(select(literal(1)))
        session.add(AuditHead(id=1, sequence=0, mac="0"))
        session.flush()


def test_a_row_of_the_other_clinic_cannot_be_got_by_its_id(
    both: World, behind: ClinicSession
) -> None:
    with both.sessions() as session:
        far = session.scalars(select(Submission).where(Submission.clinic_id != both.clinic_id))
        reports_far = select(SignedReport).where(SignedReport.clinic_id != both.clinic_id)
        ids = far.one().id, session.scalars(reports_far).one().id
    assert behind.get(Submission, ids[0]) is None
    assert behind.get(Submission, ids[0], populate_existing=True, with_for_update=True) is None
    assert behind.get(SignedReport, ids[1]) is None
    assert behind.get(Account, both.frank.account_id) is None
    assert behind.get(Account, both.bob.account_id) is not None


Statement = Callable[[], Any]
READS: dict[str, Statement] = {
    "alias": lambda: select(aliased(Submission).clinic_id),
    "join": lambda: select(Submission.clinic_id).join(Patient, Patient.id == Submission.patient_id),
    "union": lambda: union_all(select(Submission.clinic_id), select(SignedReport.clinic_id)),
    "subquery": lambda: select(select(Submission.clinic_id).limit(9).subquery().c.clinic_id),
    "scalar subquery": lambda: select(select(Submission.clinic_id).limit(1).scalar_subquery()),
    "in": lambda: select(Account.clinic_id).where(
        Account.id.in_(select(SignedReport.signer_id)), Account.clinic_id.is_not(None)
    ),
    "exists": lambda: select(Account.clinic_id).where(
        exists().where(SignedReport.signer_id == Account.id)
    ),
    "cte": lambda: select(select(Submission.clinic_id).cte().c.clinic_id),
}


def test_the_wall_stands_in_every_shape_of_statement(both: World, behind: ClinicSession) -> None:
    found = {shape: set(behind.scalars(statement())) for shape, statement in READS.items()}
    assert all(clinics == {both.clinic_id} for clinics in found.values()), found


def test_a_condition_counts_inside_a_subquery_too(both: World, behind: ClinicSession) -> None:
    """Of an outer table without a clinic: does any case of the other clinic let it through?"""
    far = exists().where(Submission.clinic_id == both.other_clinic_id)
    assert behind.scalars(select(EpochKeyRow.kid).where(far)).all() == []


@pytest.mark.parametrize("load", [lazyload, joinedload, selectinload, subqueryload])
def test_what_is_loaded_along_stays_behind_the_wall(
    both: World, behind: ClinicSession, load: Callable[[Any], ExecutableOption]
) -> None:
    with both.sessions() as session, session.begin():
        report = session.scalars(
            select(SignedReport).where(SignedReport.clinic_id == both.clinic_id)
        ).one()
        report.signer_id = both.frank.account_id  # as if something had mixed them up
    along = load(SignedReport.signer), load(SignedReport.submission)
    report = behind.scalars(select(SignedReport).options(*along)).one()
    assert report.submission.patient.id == both.alice.patient_id
    assert report.signer is None


def test_an_update_or_delete_changes_rows_of_the_own_clinic_alone(
    both: World, behind: ClinicSession
) -> None:
    with both.sessions() as session:
        before = session.scalar(
            select(func.count()).select_from(Consent).where(_far_consents(both))
        )
    behind.execute(update(Submission).values(urgency=0))
    behind.execute(delete(Consent))
    behind.commit()
    with both.sessions() as session:
        urgent = session.scalars(select(Submission.clinic_id).where(Submission.urgency == 0))
        assert set(urgent) == {both.clinic_id}
        assert set(session.scalars(select(Consent.patient_id))) == {both.henry.patient_id}
        after = session.scalar(select(func.count()).select_from(Consent))
        assert after == before


def _far_consents(both: World) -> Any:
    return Consent.patient_id == both.henry.patient_id


def test_a_statement_that_takes_no_condition_is_refused(behind: ClinicSession) -> None:
    table = Submission.__table__
    for statement in (
        text("SELECT id FROM submission"),
        select(Submission).from_statement(text("SELECT * FROM submission")),
        table.select(),
        select(table.c.id),
        insert(Consent).values(patient_id="x"),
    ):
        with pytest.raises(NoClinicError, match="No condition fits"):
            behind.execute(statement)


def test_a_new_row_of_the_other_clinic_or_of_none_is_refused(
    both: World, behind: ClinicSession
) -> None:
    for clinic_id in (both.other_clinic_id, None):
        behind.add(AuditEntry(sequence=10**6, clinic_id=clinic_id))
        with pytest.raises(OtherClinicError, match="audit_entry"):
            behind.flush()
        behind.expunge_all()
    account = behind.get_one(Account, both.bob.account_id)
    account.clinic_id = both.other_clinic_id
    with pytest.raises(OtherClinicError, match="account"):
        behind.flush()


def test_a_closed_session_writes_no_clinic_s_row(both: World, behind: ClinicSession) -> None:
    clinic_scope.close(behind)
    behind.add(Consent(patient_id=both.alice.patient_id))
    with pytest.raises(OtherClinicError, match="consent"):
        behind.flush()


def test_all_clinics_are_open_within_the_block_alone(both: World, behind: ClinicSession) -> None:
    with clinic_scope.every_clinic(behind):
        assert len(behind.scalars(select(Clinic)).all()) == 2
    assert [one.id for one in behind.scalars(select(Clinic))] == [both.clinic_id]
    clinic_scope.close(behind)
    with pytest.raises(RuntimeError), clinic_scope.every_clinic(behind):
        raise RuntimeError
    with pytest.raises(NoClinicError):
        behind.scalars(select(Clinic))


def test_a_row_that_the_session_holds_can_be_read_again_after_a_rollback(
    both: World, engine: Engine
) -> None:
    """An error page names who is signed in, after the page's transaction was taken back."""
    with ClinicSession(engine) as session:
        with clinic_scope.every_clinic(session):
            account = session.get_one(Account, both.bob.account_id)
        session.rollback()
        assert account.role == Role.DERMATOLOGIST


def test_the_pages_queries_still_walk_along_indexes(both: World, engine: Engine) -> None:
    """Conditions must not turn a walk along an index into one along a table."""

    def behind_the_wall() -> Session:
        session = ClinicSession(engine)
        clinic_scope.keep_to(session, both.clinic_id)
        return session

    clinic_id, reader_id = both.clinic_id, both.bob.account_id

    def queue(session: Session) -> None:
        shown = {"all": Filters()}
        review_queue.counts(session, shown, clinic_id=clinic_id, reader_id=reader_id)
        review_queue.queue_page(
            session, clinic_id=clinic_id, reader_id=reader_id, filters=Filters(), after=None
        )

    def recent(session: Session) -> None:
        now = database_now(session)
        operations._recent(session, [clinic_id], now)

    assert "submission_review_order" in plan_of(behind_the_wall, queue)
    assert "screening_result_of_clinic" in plan_of(behind_the_wall, recent)
    # Either of the two begins with the clinic; of a few rows a database may take the shorter one.
    assert "screening_result_of_clinic" in plan_of(behind_the_wall, live_answers.model_drift)
