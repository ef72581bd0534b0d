"""The audit chain on both databases: whatever is done to it, the verifier names the place."""

from functools import partial

import pytest
from sqlalchemy import delete, select, update

from clinic.audit_event import GENESIS, AuditAction
from clinic.records import audit_log
from clinic.records.audit_log import Auditor, AuditQuery, verify
from clinic.records.db import SessionFactory
from clinic.records.models import AuditEntry, AuditHead
from tests.threads import at_once

KEY = b"a" * 32
AUDITOR = Auditor(KEY)


def record(sessions: SessionFactory, number: int, **about: str) -> None:
    with sessions() as session, session.begin():
        AUDITOR.record(session, AuditAction.CASE_READ, f"account-{number}", **about)


def problem(sessions: SessionFactory, key: bytes = KEY) -> str | None:
    with sessions() as session:
        return verify(session, key)


def change(sessions: SessionFactory, *statements: object) -> None:
    with sessions() as session, session.begin():
        for statement in statements:
            session.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def five(sessions: SessionFactory) -> SessionFactory:
    for number in range(1, 6):
        record(sessions, number, clinic_id="c1", patient_id="p1", detail=f"entry {number}")
    return sessions


def test_an_empty_chain_and_an_honest_chain_hold(sessions: SessionFactory) -> None:
    assert problem(sessions) is None
    record(sessions, 1)
    record(sessions, 2)
    assert problem(sessions) is None


def test_entries_of_one_act_are_linked_in_their_order(sessions: SessionFactory) -> None:
    record(sessions, 1)
    with sessions() as session, session.begin():
        cases: list[dict[str, str | bool | None]] = [{"submission_id": one} for one in "abc"]
        AUDITOR.record_all(session, AuditAction.EHR_READ, "ehr:x", cases)
    record(sessions, 2)
    with sessions() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.sequence)).all()
    assert [one.submission_id for one in entries] == [None, "a", "b", "c", None]
    assert problem(sessions) is None


@pytest.mark.parametrize(
    "values",
    [
        {"detail": "nothing happened"},
        {"actor": "somebody else"},
        {"patient_id": None},
        {"allowed": False},
        {"action": AuditAction.SIGNED_OUT},
        {"action": "case:made up"},
        {"mac": "0" * 64},
    ],
    ids=lambda values: next(iter(values)),
)
def test_an_edited_entry_is_named(five: SessionFactory, values: dict[str, object]) -> None:
    change(five, update(AuditEntry).where(AuditEntry.sequence == 3).values(**values))
    assert problem(five) == "Entry 3 was changed."


def test_a_deleted_entry_is_named(five: SessionFactory) -> None:
    change(five, delete(AuditEntry).where(AuditEntry.sequence == 2))
    assert problem(five) == "Entry 2 is missing: the chain goes on with 3."


def test_two_entries_that_changed_places_are_named(five: SessionFactory) -> None:
    places = AuditEntry.sequence
    change(
        five,
        update(AuditEntry).where(places == 2).values(sequence=20),
        update(AuditEntry).where(places == 3).values(sequence=2),
        update(AuditEntry).where(places == 20).values(sequence=3),
    )
    assert problem(five) == "Entry 2 was changed."


def test_a_cut_tail_is_named(five: SessionFactory) -> None:
    change(five, delete(AuditEntry).where(AuditEntry.sequence >= 4))
    assert problem(five) == "Entry 4 is missing: the chain's head stands at 5."


def test_a_chain_that_was_emptied_is_named(five: SessionFactory) -> None:
    change(five, delete(AuditEntry))
    assert problem(five) == "Entry 1 is missing: the chain's head stands at 5."


@pytest.mark.parametrize(
    "statement",
    [
        delete(AuditHead),
        update(AuditHead).values(sequence=3),
        update(AuditHead).values(mac=GENESIS),
    ],
    ids=["deleted", "set back", "another mac"],
)
def test_a_head_that_was_touched_shows(five: SessionFactory, statement: object) -> None:
    change(five, statement)
    assert "head" in (problem(five) or "")


def test_the_chain_holds_under_its_own_key_only(five: SessionFactory) -> None:
    assert problem(five, b"b" * 32) == "Entry 1 was changed."


def test_concurrent_writers_keep_one_chain_from_the_first_entry_on(
    sessions: SessionFactory,
) -> None:
    def write(writer: int) -> None:
        for number in range(5):
            record(sessions, 100 * writer + number)

    at_once(*(partial(write, writer) for writer in range(8)))

    assert problem(sessions) is None
    with sessions() as session:
        assert session.get_one(AuditHead, 1).sequence == 40


def test_the_verifier_raises_no_false_alarm_while_others_write(five: SessionFactory) -> None:
    def write() -> list[str | None]:
        for number in range(30):
            record(five, number)
        return []

    def check() -> list[str | None]:
        return [problem(five) for _ in range(15)]

    found = at_once(write, check, check)

    assert set(found[1] + found[2]) == {None}


def test_an_entry_of_a_rolled_back_transaction_leaves_no_gap(five: SessionFactory) -> None:
    with five() as session:
        AUDITOR.record(session, AuditAction.CASE_SIGNED, "nobody")
        session.rollback()
    record(five, 6)

    assert problem(five) is None
    with five() as session:
        assert session.get_one(AuditHead, 1).sequence == 6


def test_a_patient_sees_who_touched_their_record_newest_first(five: SessionFactory) -> None:
    record(five, 9, patient_id="p2")
    with five() as session:
        found = audit_log.about_patient(session, "p1", limit=3)
    assert [entry.actor for entry in found] == ["account-5", "account-4", "account-3"]


def test_a_search_keeps_to_the_clinic_and_its_conditions(sessions: SessionFactory) -> None:
    record(sessions, 1, clinic_id="c1", submission_id="ab%cdef")
    record(sessions, 1, clinic_id="c1", submission_id="abxcdef")
    record(sessions, 2, clinic_id="c1", submission_id="abxcdef")
    record(sessions, 1, clinic_id="c2", submission_id="abxcdef")

    def found(before: int | None = None, limit: int = 9, **query: str) -> list[int]:
        with sessions() as session:
            asked = AuditQuery("c1", **query)
            rows = audit_log.search(session, query=asked, before=before, limit=limit)
        return [row.sequence for row in rows]

    assert found() == [3, 2, 1]
    assert found(before=3) == [2, 1]
    assert found(limit=2) == [3, 2]
    assert found(actor="account-1") == [2, 1]
    assert found(action=AuditAction.SIGNED_IN) == []
    assert found(reference="ab%") == [1]
