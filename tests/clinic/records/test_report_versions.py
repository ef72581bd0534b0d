"""Versions of a signed report: added in order, never changed, gone with their patient alone."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from clinic.fhir_search import ReportQuery
from clinic.keeper_protocol import ObjectKind
from clinic.pathology import PathologySource, Specimen
from clinic.records import erasure, pathology, report_versions, reports, sealed_objects, submissions
from clinic.records.db import every_clinic_sessions
from clinic.records.models import PathologyResult, SealedObject, SignedReport, Submission
from clinic.records.pathology import NewResult
from clinic.records.report_versions import Change, OutdatedVersionError
from clinic.records.review import Decision
from clinic.report_values import ReportStatus
from tests.portal_tools import both_databases
from tests.world import World, build

AMENDED = Change(ReportStatus.AMENDED, "pathology")


def decision(session: Any, report: SignedReport) -> Decision:
    """The same again: what it says is not the matter here."""
    finding, letter = (
        session.get_one(SealedObject, one)
        for one in (report.finding_object_id, report.letter_object_id)
    )
    return Decision(
        diagnosis=report.diagnosis,
        icd10cm=report.icd10cm,
        confidence=report.confidence,
        image_quality=report.image_quality,
        plan="biopsy",
        agreement=report.agreement,
        override_reason=None,
        finding=finding,
        letter=letter,
    )


def amend(world: World, case: str, *, after: int, change: Change = AMENDED) -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        report_versions.lock_version(session, row, after=after)
        newest = submissions.signed_report(session, case)
        assert newest is not None
        made = decision(session, newest)
        report_versions.add_version(
            session, row, signer_id=world.bob.account_id, decision=made, change=change, after=after
        )


@both_databases
def test_a_version_follows_the_one_that_its_reader_knew(world: World) -> None:
    case = world.signed(world.alice, world.bob)

    amend(world, case, after=1)
    with pytest.raises(OutdatedVersionError):
        amend(world, case, after=1)
    amend(world, case, after=2, change=Change(ReportStatus.APPENDED, "addendum"))

    with world.sessions() as session:
        found = report_versions.versions(session, case)
        newest = session.scalars(select(SignedReport).where(report_versions.is_newest())).all()
    assert [one.version for one in found] == [1, 2, 3]
    assert [one.status for one in found] == ["final", "amended", "appended"]
    assert [one.change_reason for one in found] == [None, "pathology", "addendum"]
    assert [one.version for one in newest] == [3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "final"},
        {"change_reason": None},
        {"status": "unsigned"},
        {"version": 1},
    ],
)
def test_a_later_version_without_status_or_reason_is_impossible(
    world: World, wrong: dict[str, Any]
) -> None:
    world.signed(world.alice, world.bob)
    with world.sessions() as session:
        first = session.scalars(select(SignedReport)).one()
        values = {one.name: getattr(first, one.name) for one in SignedReport.__table__.columns}
        second = {"id": "0" * 32, "version": 2, "status": "amended", "change_reason": "pathology"}
        session.add(SignedReport(**{**values, **second, **wrong}))
        with pytest.raises(IntegrityError):
            session.flush()


def test_texts_of_earlier_versions_are_kept_but_count_no_more(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        report_versions.retire_texts(session, case)
    with world.sessions() as session:
        kinds = [ObjectKind.FINDING, ObjectKind.LETTER]
        assert sealed_objects.of_submission(session, case, kinds) == []
        kept = session.scalars(select(SealedObject).where(SealedObject.kind.in_(kinds))).all()
        assert len(kept) == 2


@pytest.fixture
def stored(migrated: Engine, tmp_path: Path) -> World:
    """One signed case, in tables that the migrations made, with their triggers."""
    world = build(every_clinic_sessions(migrated), tmp_path)
    case = world.signed(world.alice, world.bob)
    punch, report = Specimen.PUNCH, PathologySource.LABORATORY_REPORT
    result = NewResult("nv", "D22.5", None, punch, report, date(2026, 11, 2), None)
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        pathology.add(session, row, result, added_by=world.bob.account_id)
        patient_id = row.patient_id
    world.keeper.settle(patient_id)
    return world


WRITES = {
    "another diagnosis": update(SignedReport).values(diagnosis="mel"),
    "another signer": update(SignedReport).values(signer_id=SignedReport.signer_id),
    "another letter": update(SignedReport).values(letter_object_id=SignedReport.finding_object_id),
    "another time": update(SignedReport).values(signed_at=SignedReport.signed_at),
    "another status": update(SignedReport).values(status="amended", version=2),
    "a deletion": delete(SignedReport),
    "another pathology": update(PathologyResult).values(diagnosis="mel"),
    "a deletion of pathology": delete(PathologyResult),
}


@pytest.mark.parametrize("name", WRITES)
def test_the_database_refuses_every_change_of_what_is_signed(stored: World, name: str) -> None:
    with stored.sessions() as session, pytest.raises(DBAPIError, match="signed record"):
        session.execute(WRITES[name], execution_options={"synchronize_session": False})


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", ["signed_report", "pathology_result"])
def test_what_is_signed_cannot_be_emptied(stored: World, table: str) -> None:
    with stored.sessions() as session, pytest.raises(DBAPIError, match="signed record"):
        session.execute(text(f"TRUNCATE {table} CASCADE"))


def test_versions_are_added_and_an_erasure_takes_all_of_them_once_the_keys_are_gone(
    stored: World,
) -> None:
    with stored.sessions() as session:
        case = session.scalars(select(SignedReport.submission_id)).one()
    amend(stored, case, after=1)

    with stored.sessions() as session, session.begin():
        patient_id = stored.alice.patient_id or ""
        assert erasure.erase_rows(session, stored.auditor, patient_id=patient_id, actor="test")

    with stored.sessions() as session:
        assert session.scalars(select(SignedReport)).all() == []
        assert session.scalars(select(PathologyResult)).all() == []


def test_a_record_system_finds_the_newest_version_alone_and_by_its_status(world: World) -> None:
    first, second = world.signed(world.alice, world.bob), world.signed(world.carol, world.bob)
    amend(world, first, after=1)

    def found(*statuses: ReportStatus) -> set[tuple[str, int]]:
        query = replace(ReportQuery(), **({"statuses": frozenset(statuses)} if statuses else {}))
        with world.sessions() as session:
            clinic = {"clinic_id": world.clinic_id, "query": query}
            rows = reports.search(session, **clinic, after=None, limit=9)
            assert reports.count(session, **clinic) == len(rows)
            return {(one.submission_id, one.version) for one in rows}

    assert found() == {(first, 2), (second, 1)}
    assert found(ReportStatus.AMENDED) == {(first, 2)}
    assert found(ReportStatus.FINAL) == {(second, 1)}
    assert found(ReportStatus.ENTERED_IN_ERROR) == set()
