"""What opinions lead to: a signature held, a third reader, a consensus."""

import pytest

from clinic.access import Role
from clinic.double_read import Opinion, ReadReason, Wanted
from clinic.records import adjudication, review_queue, second_reads, submissions
from clinic.records.adjudication import Held
from clinic.records.models import Account, SecondRead
from clinic.records.review import NotOwnerError
from tests.world import Person, World

HARMLESS = Opinion("nv", "benign_advice")
SEEN = Opinion("nv", "in_person")
BEFORE = Wanted(ReadReason.SKIN_TONE, holds=True)
AFTER = Wanted(ReadReason.SAMPLE, holds=False)


@pytest.fixture
def gina(world: World) -> Person:
    return world.add_person("gina", Role.DERMATOLOGIST)


@pytest.fixture
def case(world: World) -> str:
    return world.first_read(world.alice, world.bob)


def hold(world: World, case: str, decision: Opinion, wanted: Wanted | None = None) -> Held | None:
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        return adjudication.hold(
            session, row, reader_id=world.bob.account_id, decision=decision, wanted=wanted
        )


def signed(world: World, case: str, wanted: Wanted | None = None) -> None:
    world.sign(case, world.bob)
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        adjudication.after_signing(session, row, wanted=wanted)


def open_read(world: World, case: str) -> SecondRead | None:
    with world.sessions() as session:
        return second_reads.open_of_case(session, case)


def consensus(world: World, case: str) -> tuple[str, str, str] | None:
    with world.sessions() as session:
        found = adjudication.consensus_of(session, case)
        return (found.path, found.diagnosis, found.plan) if found else None


def test_a_case_that_nothing_speaks_against_is_signed_at_once(world: World, case: str) -> None:
    assert hold(world, case, HARMLESS) is None
    assert hold(world, case, HARMLESS, AFTER) is None
    assert open_read(world, case) is None


def test_the_rule_sends_a_case_to_a_second_reader_before_its_letter_leaves(
    world: World, case: str
) -> None:
    assert hold(world, case, HARMLESS, BEFORE) is Held.TO_A_SECOND
    found = open_read(world, case)
    assert found is not None
    assert (found.reason, found.blind, found.holds) == (ReadReason.SKIN_TONE, True, True)
    assert (found.asked_by, found.first_diagnosis, found.first_plan) == (
        None,
        "nv",
        "benign_advice",
    )
    with world.sessions() as session:
        row = submissions.find(session, case)
        assert row is not None
        assert found.due_at == row.due_at  # the promise to the patient stays
    assert hold(world, case, HARMLESS, BEFORE) is Held.WAITING


def test_nothing_is_signed_while_a_second_read_is_open(world: World, case: str) -> None:
    world.ask_second(case, world.bob)
    with pytest.raises(NotOwnerError):
        world.sign(case, world.bob)


def test_a_second_reader_who_agrees_lets_the_letter_go(world: World, case: str) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="nv", plan="benign_advice")
    assert hold(world, case, HARMLESS, BEFORE) is None
    signed(world, case, BEFORE)
    assert consensus(world, case) == ("agreed", "nv", "benign_advice")
    assert open_read(world, case) is None


def test_a_second_reader_who_fears_more_calls_a_third(
    world: World, case: str, gina: Person
) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")

    assert hold(world, case, HARMLESS) is Held.TO_A_THIRD

    third = open_read(world, case)
    assert third is not None
    assert (third.reason, third.blind, third.holds) == (ReadReason.ADJUDICATION, False, True)
    world.answer_second(third.id, gina, diagnosis="mel", plan="biopsy")
    assert hold(world, case, HARMLESS) is Held.AGAINST_THE_THIRD
    assert hold(world, case, SEEN) is None


def test_a_third_reader_may_find_it_harmless_too(world: World, case: str, gina: Person) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    hold(world, case, HARMLESS)
    third = open_read(world, case)
    assert third is not None
    world.answer_second(third.id, gina, diagnosis="nv", plan="benign_advice")

    assert hold(world, case, HARMLESS) is None
    signed(world, case)
    assert consensus(world, case) == ("adjudicated", "nv", "benign_advice")


def test_whoever_takes_the_more_careful_plan_needs_no_third(world: World, case: str) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    assert hold(world, case, SEEN) is None


def test_with_nobody_left_to_decide_only_the_careful_plan_can_be_signed(
    world: World, case: str
) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    assert hold(world, case, HARMLESS) is Held.NO_THIRD
    assert hold(world, case, SEEN) is None


def test_a_clinic_with_one_dermatologist_holds_nothing(world: World) -> None:
    case = world.first_read(world.add_person("henry", Role.PATIENT), world.bob)
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        dan = session.get_one(Account, world.dan.account_id)
        dan.disabled_at = row.received_at

    assert hold(world, case, HARMLESS, BEFORE) is None
    signed(world, case, AFTER)
    assert open_read(world, case) is None


def test_the_audit_comes_after_the_signature(world: World, case: str) -> None:
    signed(world, case, AFTER)
    found = open_read(world, case)
    assert found is not None
    assert (found.reason, found.holds, found.first_plan) == ("sample", False, "benign_advice")
    assert not found.asked_by


def test_an_audit_that_agrees_is_a_consensus(world: World, case: str) -> None:
    signed(world, case, AFTER)
    found = open_read(world, case)
    assert found is not None
    world.answer_second(found.id, world.dan, diagnosis="df", plan="gp_plan")
    assert consensus(world, case) == ("same risk", "nv", "benign_advice")


def test_an_audit_that_differs_goes_to_a_third_whose_word_counts(
    world: World, case: str, gina: Person
) -> None:
    signed(world, case, AFTER)
    audit = open_read(world, case)
    assert audit is not None
    world.answer_second(audit.id, world.dan, diagnosis="mel", plan="urgent_clinic")
    assert consensus(world, case) is None

    third = open_read(world, case)
    assert third is not None
    assert (third.reason, third.holds) == (ReadReason.ADJUDICATION, False)
    with world.sessions() as session, session.begin():
        for reader in (world.bob, world.dan):
            assert not second_reads.take(session, third.id, reader_id=reader.account_id)
    world.answer_second(third.id, gina, diagnosis="mel", plan="urgent_clinic")
    assert consensus(world, case) == ("adjudicated", "mel", "urgent_clinic")


def test_the_claim_of_a_held_case_stays_with_its_reader(world: World, case: str) -> None:
    hold(world, case, HARMLESS, BEFORE)
    with world.sessions() as session, session.begin():
        assert review_queue.claim(session, case, reader_id=world.bob.account_id)
        assert not review_queue.claim(session, case, reader_id=world.dan.account_id)
