"""Signed reports as record systems find them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from clinic.fhir_mapping import KeyKind, ReportKey
from clinic.fhir_search import PageKey, Period, ReportQuery, Token
from clinic.keeper_protocol import ObjectKind
from clinic.records import reports, sealed_objects
from clinic.records.models import Patient, SignedReport, Submission
from clinic.report_values import ReportStatus
from tests.query_plans import plan_of
from tests.world import World

EVERYTHING = ReportQuery()


def find(world: World, query: ReportQuery = EVERYTHING, *, clinic: str | None = None) -> list[str]:
    with world.sessions() as session:
        found = reports.search(
            session, clinic_id=clinic or world.clinic_id, query=query, after=None, limit=50
        )
        total = reports.count(session, clinic_id=clinic or world.clinic_id, query=query)
    assert total == len(found)
    return [row.submission_id for row in found]


def by_key(world: World, kind: KeyKind, key: str, *, clinic: str | None = None) -> str | None:
    with world.sessions() as session:
        found = reports.by_key(
            session, clinic_id=clinic or world.clinic_id, key=ReportKey(kind, key)
        )
    return found.submission_id if found else None


def signed_at(world: World, case: str) -> datetime:
    with world.sessions() as session:
        row = session.query(SignedReport).filter_by(submission_id=case).one()
        return row.signed_at


def test_only_signed_cases_of_the_clinic_are_found_newest_first(world: World) -> None:
    first = world.signed(world.alice, world.bob)
    second = world.signed(world.carol, world.bob)
    world.screened(world.alice)

    assert find(world) == [second, first]
    assert find(world, clinic=world.other_clinic_id) == []


def test_a_search_by_patient_finds_theirs(world: World) -> None:
    mine = world.signed(world.alice, world.bob)
    world.signed(world.carol, world.bob)
    patient_id = world.alice.patient_id or ""
    with world.sessions() as session:
        number = session.get_one(Patient, patient_id).record_number

    assert find(world, replace(EVERYTHING, patient_id=patient_id)) == [mine]
    tokens = frozenset({Token(None, number)})
    assert find(world, replace(EVERYTHING, patient_identifiers=tokens)) == [mine]
    foreign = frozenset({Token("urn:another-system", number)})
    assert find(world, replace(EVERYTHING, patient_identifiers=foreign)) == []


def test_a_search_by_case_and_by_time_finds_those(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    at, second = signed_at(world, case), timedelta(seconds=1)
    assert find(world, replace(EVERYTHING, case_ids=frozenset({case, "other"}))) == [case]
    assert find(world, replace(EVERYTHING, case_ids=frozenset())) == []
    assert find(world, replace(EVERYTHING, signed=Period(at, at + second))) == [case]
    assert find(world, replace(EVERYTHING, signed=Period(at + second, None))) == []
    assert find(world, replace(EVERYTHING, signed=Period(None, at))) == []
    assert find(world, replace(EVERYTHING, effective=Period(None, at + second))) == [case]
    assert find(world, replace(EVERYTHING, effective=Period(at + second, None))) == []


def test_a_search_that_can_find_nothing_asks_no_database(world: World) -> None:
    world.signed(world.alice, world.bob)
    assert find(world, replace(EVERYTHING, nothing=True)) == []
    drafts = frozenset(ReportStatus) - {ReportStatus.FINAL}
    assert find(world, replace(EVERYTHING, statuses=drafts)) == []


def test_the_pages_show_every_report_once_even_with_equal_times(world: World) -> None:
    cases = [world.signed(world.alice, world.bob) for _ in range(3)]
    with world.sessions() as session, session.begin():
        session.execute(update(SignedReport).values(signed_at=signed_at(world, cases[0])))
    seen: list[str] = []
    after: PageKey | None = None
    for _ in range(4):
        with world.sessions() as session:
            rows = reports.search(
                session, clinic_id=world.clinic_id, query=EVERYTHING, after=after, limit=1
            )
        if not rows:
            break
        seen.append(rows[0].submission_id)
        after = PageKey(rows[0].signed_at, rows[0].submission_id)
    assert sorted(seen) == sorted(cases)


def test_a_search_by_when_photos_were_sent_is_paged_in_that_order(world: World) -> None:
    cases = [world.signed(world.alice, world.bob) for _ in range(3)]
    with world.sessions() as session, session.begin():
        for age, case in enumerate(cases):
            at = session.get_one(Submission, case).received_at - timedelta(days=age)
            session.execute(update(Submission).where(Submission.id == case).values(received_at=at))
    query = replace(EVERYTHING, effective=Period(signed_at(world, cases[0]) - timedelta(days=9)))
    assert find(world, query) == cases
    with world.sessions() as session:
        second = session.get_one(Submission, cases[1])
        rows = reports.search(
            session,
            clinic_id=world.clinic_id,
            query=query,
            after=PageKey(second.received_at, second.id),
            limit=5,
        )
    assert [row.submission_id for row in rows] == cases[2:]


def test_counting_stops_at_its_limit(world: World) -> None:
    for _ in range(3):
        world.signed(world.alice, world.bob)
    with world.sessions() as session:
        counted = [
            reports.count(session, clinic_id=world.clinic_id, query=EVERYTHING, limit=limit)
            for limit in (None, 5, 2)
        ]
    assert counted == [3, 3, 2]


def test_each_order_of_a_search_reads_its_index(world: World) -> None:
    start = signed_at(world, world.signed(world.alice, world.bob)) - timedelta(days=1)
    orders = {
        "signed_report_by_clinic": EVERYTHING,
        "submission_signed_by_sending": replace(EVERYTHING, effective=Period(start)),
    }
    for index, query in orders.items():
        key = PageKey(start + timedelta(days=2), "0")

        def search(
            session: Session, query: ReportQuery = query, key: PageKey = key
        ) -> Sequence[SignedReport]:
            return reports.search(
                session, clinic_id=world.clinic_id, query=query, after=key, limit=9
            )

        assert index in plan_of(world.sessions, search)


@pytest.mark.parametrize("kind", KeyKind)
def test_each_resource_leads_to_the_newest_report_that_contains_it(
    world: World, kind: KeyKind
) -> None:
    world.signed(world.alice, world.bob)
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session:
        (photo,) = sealed_objects.of_submission(session, case, [ObjectKind.PHOTO])
    ids = {
        KeyKind.CASE: case,
        KeyKind.PATIENT: world.alice.patient_id or "",
        KeyKind.PRACTITIONER: world.bob.account_id,
        KeyKind.ORGANIZATION: world.clinic_id,
        KeyKind.PHOTO: photo.id,
        KeyKind.DEVICE: "f" * 64,
    }
    assert by_key(world, kind, ids[kind]) == case
    assert by_key(world, kind, ids[kind], clinic=world.other_clinic_id) is None
    assert by_key(world, kind, "0" * 32) is None
