"""Two people open a case without keeper and master key; the audit knows before they do."""

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from clinic.audit_event import AuditAction
from clinic.escrow import Escrow
from clinic.keeper_protocol import ObjectKind
from clinic.records import emergency_access, keys, stored_keys
from clinic.records.emergency_access import (
    EmergencyAccess,
    EmergencyRefusedError,
    EmergencyRequest,
    Opened,
)
from clinic.records.models import EpochKeyRow, PatientKey, SealedObject
from clinic.sealed_part import new_identity
from tests.portal_tools import entries
from tests.world import World

(HALF_A, PUBLIC_A), (HALF_B, PUBLIC_B), (STRANGER, PUBLIC_C) = (new_identity() for _ in range(3))
ESCROW = Escrow((PUBLIC_A, PUBLIC_B))
HALVES = (HALF_A, HALF_B)


@pytest.fixture
def guarded(world: World) -> World:
    """A world whose keys all have emergency copies."""
    world.keeper = replace(world.keeper, escrow=ESCROW)
    world.hints.keeper = world.keeper
    renew(world)
    return world


def renew(world: World, escrow: Escrow = ESCROW) -> int:
    return emergency_access.renew_copies(
        world.sessions, world.master, escrow, world.auditor, actor="test"
    )


def request(case: str, **changed: object) -> EmergencyRequest:
    values = {"halves": HALVES, "reason": "Lost keeper", "people": ("Ann Roe", "Ben Doe")}
    return EmergencyRequest(case, **{**values, **changed})  # type: ignore[arg-type]


def open_case(world: World, case: str, **changed: object) -> list[Opened]:
    access = EmergencyAccess(world.sessions, world.blobs, world.auditor)
    return access.open_case(request(case, **changed), actor="test")


def contents(opened: list[Opened]) -> dict[ObjectKind, bytes]:
    assert [one.problem for one in opened if one.problem] == []
    return {one.kind: one.content or b"" for one in opened}


def test_a_settled_case_opens_whole(guarded: World) -> None:
    case = guarded.signed(guarded.alice, guarded.bob)
    guarded.ask_second(case, guarded.bob)
    guarded.message(case, guarded.alice, "A message.")
    guarded.note(case, guarded.bob, "A note.")
    guarded.keeper.settle(guarded.alice.patient_id or "")

    found = contents(open_case(guarded, case))

    of_other_cases = {ObjectKind.RETAKE, ObjectKind.DRAFT, ObjectKind.GP_LETTER}
    of_other_cases |= {ObjectKind.ATTACHMENT, ObjectKind.PATHOLOGY}
    assert set(found) == set(ObjectKind) - of_other_cases
    assert found[ObjectKind.PHOTO].startswith(b"\xff\xd8")
    assert found[ObjectKind.NOTE] == b"A note."
    assert found[ObjectKind.MESSAGE] == b"A message."
    assert found[ObjectKind.LETTER] == b"This spot is harmless."
    assert b"Alice" in found[ObjectKind.IDENTITY]


def test_a_case_that_is_still_sealed_to_the_epoch_key_opens_too(guarded: World) -> None:
    case = guarded.submit(guarded.alice)
    found = contents(open_case(guarded, case))
    assert set(found) == {ObjectKind.IDENTITY, ObjectKind.PHOTO, ObjectKind.HISTORY}


def test_the_audit_entry_is_committed_before_anything_is_opened(
    guarded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = guarded.submit(guarded.alice)
    known: list[int] = []

    def spy(*_: object) -> list[Opened]:
        known.append(len(entries(guarded, AuditAction.EMERGENCY_ACCESS)))
        raise KeyboardInterrupt

    monkeypatch.setattr(emergency_access, "_objects", spy)
    with pytest.raises(KeyboardInterrupt):
        open_case(guarded, case)

    assert known == [1]
    (entry,) = entries(guarded, AuditAction.EMERGENCY_ACCESS)
    assert (entry.submission_id, entry.patient_id) == (case, guarded.alice.patient_id)
    assert entry.detail == "by Ann Roe and Ben Doe: Lost keeper"


def test_one_half_opens_nothing_and_the_try_is_known(guarded: World) -> None:
    case = guarded.submit(guarded.alice)
    opened = open_case(guarded, case, halves=(HALF_A, STRANGER))
    assert [one.content for one in opened] == [None] * 3
    assert all("do not open" in (one.problem or "") for one in opened)
    assert len(entries(guarded, AuditAction.EMERGENCY_ACCESS)) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"people": ("Ann Roe", " ann roe")}, "Two different people"),
        ({"people": ("Ann Roe", "")}, "Two different people"),
        ({"people": ("Ann Roe", "x" * 61)}, "60 characters"),
        ({"reason": "  "}, "Give a reason"),
        ({"reason": "x" * 201}, "Give a reason"),
        ({"halves": (HALF_A, HALF_A)}, "two people"),
        ({"halves": (HALF_A, "nonsense")}, "AGE-SECRET-KEY"),
    ],
)
def test_a_request_that_is_not_complete_is_refused_before_any_entry(
    guarded: World, changed: dict[str, object], words: str
) -> None:
    case = guarded.submit(guarded.alice)
    with pytest.raises(EmergencyRefusedError, match=words):
        open_case(guarded, case, **changed)
    assert entries(guarded, AuditAction.EMERGENCY_ACCESS) == []


def test_the_longest_names_and_reason_fit_the_entry(guarded: World) -> None:
    case = guarded.submit(guarded.alice)
    open_case(guarded, case, people=("a" * 60, "b" * 60), reason="r" * 200)
    assert len(entries(guarded, AuditAction.EMERGENCY_ACCESS)) == 1


def test_a_case_that_does_not_exist_is_refused(guarded: World) -> None:
    with pytest.raises(EmergencyRefusedError, match="no case"):
        open_case(guarded, "0" * 32)


def test_an_erased_patient_stays_closed(guarded: World) -> None:
    case = guarded.signed(guarded.alice, guarded.bob)
    patient = guarded.alice.patient_id or ""
    guarded.keeper.settle(patient)
    with guarded.sessions() as session:
        session.expire_on_commit = False
        headers = [one.header for one in session.scalars(select(SealedObject))]
    guarded.eraser.erase(patient, actor="test")

    with pytest.raises(EmergencyRefusedError, match="erased"):
        open_case(guarded, case)
    with guarded.sessions() as session:
        key = session.scalars(select(PatientKey).where(PatientKey.patient_id == patient)).one()
    assert (key.wrapped, key.emergency_copy) == (None, None)
    assert any(key.kid in header for header in headers)


def test_what_has_no_copy_is_named_and_holds_nothing_else_up(guarded: World) -> None:
    case = guarded.screened(guarded.alice)
    guarded.keeper.settle(guarded.alice.patient_id or "")
    with guarded.sessions() as session, session.begin():
        session.execute(update(PatientKey).values(emergency_copy=None))
    opened = open_case(guarded, case)
    assert all("has no emergency copy" in (one.problem or "") for one in opened)


def test_one_damaged_object_holds_up_no_other(guarded: World) -> None:
    case = guarded.submit(guarded.alice)
    with guarded.sessions() as session, session.begin():
        damaged = update(SealedObject).where(SealedObject.kind == ObjectKind.HISTORY)
        session.execute(damaged.values(body=b"x" * 50))
    opened = {one.kind: one for one in open_case(guarded, case)}
    assert opened[ObjectKind.HISTORY].content is None
    assert opened[ObjectKind.PHOTO].content is not None


def test_copies_are_made_for_keys_that_had_none(world: World) -> None:
    world.screened(world.alice)
    world.keeper.settle(world.alice.patient_id or "")
    with world.sessions() as session:
        assert stored_keys.without_emergency_copy(session) == 2
    assert renew(world) == 2
    with world.sessions() as session:
        assert stored_keys.without_emergency_copy(session) == 0
    (entry,) = entries(world, AuditAction.EMERGENCY_COPIES_MADE)
    assert entry.detail == "2 keys"


def test_new_copies_take_the_place_of_those_of_others(guarded: World) -> None:
    case = guarded.submit(guarded.alice)
    assert contents(open_case(guarded, case))

    renew(guarded, Escrow((PUBLIC_A, PUBLIC_C)))

    assert all(one.content is None for one in open_case(guarded, case))
    assert contents(open_case(guarded, case, halves=(HALF_A, STRANGER)))


def test_the_keeper_makes_a_copy_with_each_patient_s_key(guarded: World) -> None:
    guarded.screened(guarded.carol)
    guarded.keeper.settle(guarded.carol.patient_id or "")
    with guarded.sessions() as session, session.begin():
        keys.publish_epoch(session, guarded.master, guarded.root_private, escrow=ESCROW)
    with guarded.sessions() as session:
        assert stored_keys.without_emergency_copy(session) == 0
        assert session.scalars(select(PatientKey)).one().emergency_copy
        assert len(session.scalars(select(EpochKeyRow)).all()) == 2
