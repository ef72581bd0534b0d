"""Second reads: who may take one, and that nothing is stored twice or for somebody else."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from clinic.access import Role
from clinic.double_read import ReadReason
from clinic.records import review, review_queue, second_reads, submissions
from clinic.records.db import database_now
from clinic.records.models import Account, SecondRead, Submission
from clinic.records.second_reads import AlreadyAskedError, NewRead, NotYoursError, SecondOpinion
from clinic.submission import CaseState
from tests.world import Person, World

READING = SecondOpinion(["mel", "nv"], "high", "biopsy")


def take(world: World, read_id: str, reader: Person) -> bool:
    with world.sessions() as session, session.begin():
        return second_reads.take(session, read_id, reader_id=reader.account_id)


def record(world: World, read_id: str, reader: Person) -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(SecondRead, read_id)
        second_reads.record(session, row, READING, reader_id=reader.account_id)


def change(world: World, read_id: str, **values: object) -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(SecondRead, read_id)
        for name, value in values.items():
            setattr(row, name, value)


def moment(world: World, minutes: float) -> object:
    with world.sessions() as session:
        return database_now(session) + timedelta(minutes=minutes)


def read_of(world: World, read_id: str) -> SecondRead:
    with world.sessions() as session:
        return session.get_one(SecondRead, read_id)


@pytest.fixture
def gina(world: World) -> Person:
    return world.add_person("gina", Role.DERMATOLOGIST)


@pytest.fixture
def case(world: World) -> str:
    return world.first_read(world.alice, world.bob)


def test_a_named_colleague_takes_it_and_no_other(world: World, case: str, gina: Person) -> None:
    read_id = world.ask_second(case, world.bob, of=world.dan)

    assert not take(world, read_id, gina)
    assert take(world, read_id, world.dan)


def test_what_a_named_colleague_leaves_lying_anybody_may_take(
    world: World, case: str, gina: Person
) -> None:
    read_id = world.ask_second(case, world.bob, of=world.dan)
    change(world, read_id, due_at=moment(world, -1))

    assert take(world, read_id, gina)


def test_the_pool_is_for_everybody_but_the_cases_own_reader(world: World, case: str) -> None:
    read_id = world.ask_second(case, world.bob)

    assert not take(world, read_id, world.bob)
    assert take(world, read_id, world.dan)


def test_whoever_signed_or_read_before_does_not_read_again(
    world: World, case: str, gina: Person
) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="nv", plan="benign_advice")
    world.sign(case, world.bob)
    read_id = world.ask_second(case, world.bob)

    assert [take(world, read_id, one) for one in (world.bob, world.dan, gina)] == [
        False,
        False,
        True,
    ]


def test_a_second_reader_who_takes_over_after_the_lease_keeps_it(
    world: World, case: str, gina: Person
) -> None:
    read_id = world.ask_second(case, world.bob)
    assert take(world, read_id, world.dan)
    assert not take(world, read_id, gina)
    change(world, read_id, reader_until=moment(world, -1))

    assert take(world, read_id, gina)

    with pytest.raises(NotYoursError):
        record(world, read_id, world.dan)
    assert read_of(world, read_id).differential is None


def test_an_opinion_after_a_lease_that_nobody_else_took_is_stored(world: World, case: str) -> None:
    read_id = world.ask_second(case, world.bob)
    take(world, read_id, world.dan)
    change(world, read_id, reader_until=moment(world, -1))

    record(world, read_id, world.dan)

    found = read_of(world, read_id)
    assert (found.state, found.differential, found.plan) == ("read", ["mel", "nv"], "biopsy")
    assert found.started_at is not None
    assert found.read_at is not None


def test_an_opinion_is_stored_once(world: World, case: str) -> None:
    read_id = world.ask_second(case, world.bob)
    world.answer_second(read_id, world.dan, diagnosis="nv", plan="benign_advice")

    with pytest.raises(NotYoursError):
        record(world, read_id, world.dan)
    assert read_of(world, read_id).differential == ["nv"]


def test_one_second_read_is_open_at_a_time(world: World, case: str) -> None:
    world.ask_second(case, world.bob)
    with pytest.raises(AlreadyAskedError):
        world.ask_second(case, world.bob, of=world.dan)


def test_no_second_read_is_asked_while_the_patient_is_waited_for(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        review.request_retake(session, case, reader_id=world.bob.account_id, reason="blur")
    with pytest.raises(AlreadyAskedError):
        world.ask_second(case, world.bob)


def test_nobody_reads_photos_that_are_to_be_replaced(world: World, case: str) -> None:
    read_id = world.ask_second(case, world.bob)
    with world.sessions() as session, session.begin():
        review.request_retake(session, case, reader_id=world.bob.account_id, reason="blur")

    assert not take(world, read_id, world.dan)


def test_ten_readers_at_once_get_one_second_read_between_them(world: World, case: str) -> None:
    readers = [world.add_person(f"reader{n}", Role.DERMATOLOGIST) for n in range(10)]
    read_id = world.ask_second(case, world.bob)

    with ThreadPoolExecutor(10) as pool:
        taken = list(pool.map(lambda one: take(world, read_id, one), readers))

    assert sum(taken) == 1


def test_two_who_ask_at_once_make_one_second_read(world: World, case: str) -> None:
    def ask(_: int) -> bool:
        with world.sessions() as session, session.begin():
            row = submissions.find(session, case)
            assert row is not None
            new = NewRead(ReadReason.ASKED, blind=True, holds=True)
            try:
                second_reads.ask(session, row, new)
            except AlreadyAskedError:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(4))) == 1


def test_what_is_withdrawn_can_be_neither_read_nor_withdrawn_again(world: World, case: str) -> None:
    read_id, bob = world.ask_second(case, world.bob), world.bob.account_id
    with world.sessions() as session, session.begin():
        assert not second_reads.withdraw(
            session, read_id, asked_by=world.dan.account_id, reason="mistake"
        )
        assert second_reads.withdraw(session, read_id, asked_by=bob, reason="mistake")
        assert not second_reads.withdraw(session, read_id, asked_by=bob, reason="mistake")
    assert not take(world, read_id, world.dan)


def test_a_case_that_waits_for_a_second_read_is_nobody_elses_to_take(
    world: World, case: str
) -> None:
    world.ask_second(case, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Submission, case).claim_until = database_now(session) - timedelta(1)

    with world.sessions() as session, session.begin():
        assert not review_queue.claim(session, case, reader_id=world.dan.account_id)
        dan, clinic = world.dan.account_id, world.clinic_id
        assert review_queue.claim_next(session, clinic_id=clinic, reader_id=dan) is None
        assert review_queue.claim(session, case, reader_id=world.bob.account_id)


def test_the_case_comes_back_to_its_own_reader_and_later_to_all(world: World, case: str) -> None:
    read_id = world.ask_second(case, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Submission, case).claim_until = None

    world.answer_second(read_id, world.dan, diagnosis="nv", plan="benign_advice")

    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        assert row.claimed_by == world.bob.account_id
        assert row.claim_until is not None
        assert row.claim_until >= database_now(session) + timedelta(hours=11)
        assert not review_queue.claim(session, case, reader_id=world.dan.account_id)
        row.claim_until = database_now(session) - timedelta(minutes=1)
        session.flush()
        assert review_queue.claim(session, case, reader_id=world.dan.account_id)


def test_of_a_reader_who_left_the_case_is_kept_for_nobody(world: World, case: str) -> None:
    read_id = world.ask_second(case, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.bob.account_id).disabled_at = database_now(session)
        session.get_one(Submission, case).claim_until = None

    world.answer_second(read_id, world.dan, diagnosis="nv", plan="benign_advice")

    with world.sessions() as session:
        assert session.get_one(Submission, case).claim_until is None


def test_opinions_on_photos_that_were_replaced_count_no_more(world: World, case: str) -> None:
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    with world.sessions() as session, session.begin():
        review.request_retake(session, case, reader_id=world.bob.account_id, reason="blur")
        row = session.get_one(Submission, case)
        submissions.replace_photos(session, row)
        assert second_reads.recorded(session, case) == []
        assert [one.withdrawn_reason for one in second_reads.of_case(session, case)] == [
            "new_photos"
        ]


def test_new_photos_come_back_to_the_reader_who_asked_for_them(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        review.request_retake(session, case, reader_id=world.bob.account_id, reason="blur")
        row = session.get_one(Submission, case)
        assert submissions.facts(session, row).claimed_by is None
        assert submissions.facts(session, row).photos_asked_by == world.bob.account_id
        submissions.replace_photos(session, row)
        assert submissions.facts(session, row).claimed_by is None  # the computer is at them
        row.case_state, row.urgency = CaseState.AWAITING_REVIEW, 1
        row.screening_state = "done"
        session.flush()
        assert submissions.facts(session, row).claimed_by == world.bob.account_id
        assert not review_queue.claim(session, case, reader_id=world.dan.account_id)
        row.claim_until = database_now(session) - timedelta(minutes=1)
        session.flush()
        assert review_queue.claim(session, case, reader_id=world.dan.account_id)


def test_two_blind_readers_make_a_pair_and_others_do_not(world: World, gina: Person) -> None:
    blind, third = (world.first_read(world.alice, world.bob) for _ in range(2))
    world.second_read(blind, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    read_id = world.ask_second(third, world.bob)
    change(world, read_id, blind=False)
    world.answer_second(read_id, gina, diagnosis="mel", plan="biopsy")

    with world.sessions() as session:
        assert second_reads.paired_diagnoses(session, world.clinic_id) == [("nv", "mel")]
        assert second_reads.paired_diagnoses(session, world.other_clinic_id) == []


def test_what_waits_for_a_reader_is_told_apart(world: World, gina: Person) -> None:
    named, open_to_all, own = (world.first_read(world.alice, world.bob) for _ in range(3))
    first = world.ask_second(named, world.bob, of=world.dan)
    second = world.ask_second(open_to_all, world.bob)
    third = world.ask_second(own, world.bob, of=gina)

    with world.sessions() as session:
        work = [
            second_reads.work_of(session, clinic_id=world.clinic_id, reader_id=one.account_id)
            for one in (world.dan, gina, world.bob)
        ]
        counts = [
            second_reads.count_to_do(session, clinic_id=world.clinic_id, reader_id=one.account_id)
            for one in (world.dan, gina, world.bob)
        ]

    def ids(rows: list[SecondRead]) -> set[str]:
        return {one.id for one in rows}

    assert [(ids(one.mine), ids(one.pool)) for one in work] == [
        ({first}, {second}),
        ({third}, {second}),
        (set(), set()),
    ]
    assert ids(work[2].asked) == {first, second, third}
    assert counts == [2, 2, 0]
