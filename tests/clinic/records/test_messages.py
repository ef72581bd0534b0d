"""Messages: counted, told of once, and never nobody's."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from clinic.messaging import MOST_OF_A_CASE, OPEN_AFTER_SIGNING, Refusal
from clinic.notices import NoticeKind
from clinic.records import messages, review, submissions
from clinic.records.db import database_now
from clinic.records.messages import CannotWriteError, Waiting
from clinic.records.models import Account, CaseMessage, Notice, SignedReport
from tests.portal_tools import both_databases
from tests.world import Person, World


def inbox(world: World, reader: Person) -> list[Waiting]:
    with world.sessions() as session:
        return messages.inbox(session, clinic_id=reader.clinic_id, reader_id=reader.account_id)


def told(world: World, person: Person) -> int:
    with world.sessions() as session:
        kinds = select(Notice).where(
            Notice.account_id == person.account_id, Notice.kind == NoticeKind.CASE_MESSAGE
        )
        return len(session.scalars(kinds).all())


def take_over(world: World, case: str, reader: Person) -> bool:
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        return messages.take_over(session, row, reader_id=reader.account_id)


def leave_lying(world: World) -> None:
    with world.sessions() as session, session.begin():
        for one in session.scalars(select(CaseMessage)):
            one.answer_by = database_now(session) - timedelta(minutes=1)


def test_a_patients_message_waits_for_the_reader_who_signed(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    world.message(case, world.alice, "Does it itch for long?")

    (mine,) = inbox(world, world.bob)
    assert (mine.case.id, mine.count, mine.can_take) == (case, 1, False)
    assert mine.answer_by is not None
    assert mine.answer_by >= mine.since + timedelta(days=2)
    assert inbox(world, world.dan) == []
    assert inbox(world, world.frank) == []


def test_the_receiver_is_told_once_for_all_that_is_unread(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    for _ in range(3):
        world.message(case, world.alice, "Hello?")
    assert told(world, world.bob) == 1

    with world.sessions() as session, session.begin():
        messages.mark_read(session, case, from_patient=True)
    world.message(case, world.alice, "And?")
    world.message(case, world.bob, "It will be better in a week.")

    assert told(world, world.bob) == 2
    assert told(world, world.alice) == 1
    with world.sessions() as session:
        assert messages.unread(session, [case], from_patient=False) == {case: 1}
        assert messages.unread(session, [case], from_patient=True) == {case: 1}
        assert messages.unread(session, ["other"], from_patient=True) == {}


def test_a_message_left_lying_can_be_taken_over_and_the_case_goes_along(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    world.message(case, world.alice, "It bleeds.")
    assert not take_over(world, case, world.dan)
    leave_lying(world)

    (found,) = inbox(world, world.dan)
    assert found.can_take
    assert take_over(world, case, world.dan)
    with world.sessions() as session:
        row = submissions.find(session, case)
        assert row is not None
        assert submissions.facts(session, row).claimed_by == world.dan.account_id


def test_a_message_to_a_reader_who_left_is_anybodys_at_once(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.bob.account_id).disabled_at = database_now(session)
    world.message(case, world.alice, "Hello?")

    (found,) = inbox(world, world.dan)
    assert (found.reader, found.can_take) == (None, True)
    assert take_over(world, case, world.dan)


def test_while_new_photos_are_waited_for_the_reader_who_asked_answers(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        review.request_retake(session, case, reader_id=world.bob.account_id, reason="blur")
    world.message(case, world.alice, "I cannot take a better one.")

    assert [one.case.id for one in inbox(world, world.bob)] == [case]
    assert told(world, world.bob) == 1


def test_a_message_about_a_case_in_the_queue_waits_for_whoever_takes_it(world: World) -> None:
    case = world.screened(world.alice)
    world.message(case, world.alice, "It has grown since.")

    (found,) = inbox(world, world.dan)
    assert (found.reader, found.can_take) == (None, False)
    assert not take_over(world, case, world.dan)  # the queue has a claim of its own


def test_after_14_days_nothing_more_is_written(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        report = session.scalars(select(SignedReport)).one()
        report.signed_at -= OPEN_AFTER_SIGNING

    with pytest.raises(CannotWriteError) as refused:
        world.message(case, world.alice, "Hello?")
    assert refused.value.reason is Refusal.CLOSED


def test_a_case_is_full_one_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinic.messaging.MOST_OF_A_CASE", 2)
    assert MOST_OF_A_CASE == 200
    case = world.claimed(world.alice, world.bob)
    for _ in range(2):
        world.message(case, world.alice, "Hello?")
    with pytest.raises(CannotWriteError) as refused:
        world.message(case, world.alice, "Hello?")
    assert refused.value.reason is Refusal.FULL


def read(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        messages.mark_read(session, case, from_patient=True)


@both_databases
def test_what_was_read_waits_until_a_reader_has_answered_after_it(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    world.message(case, world.bob, "How is it?")
    world.message(case, world.alice, "It itches.")
    world.message(case, world.alice, "A lot.")
    read(world, case)
    assert [one.count for one in inbox(world, world.bob)] == [2]

    world.message(case, world.bob, "Use the cream.")
    assert inbox(world, world.bob) == []

    world.message(case, world.alice, "Which one?")
    assert [one.count for one in inbox(world, world.bob)] == [1]


def test_an_answer_by_an_earlier_version_of_the_program_is_an_answer(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    world.message(case, world.alice, "It itches.")
    world.message(case, world.bob, "Use the cream.")
    with world.sessions() as session, session.begin():
        session.execute(update(CaseMessage).values(answered_at=None))
    assert inbox(world, world.bob) == []


def test_what_was_read_and_left_lying_can_be_taken_over_but_not_what_needs_no_answer(
    world: World,
) -> None:
    case = world.signed(world.alice, world.bob)
    world.message(case, world.alice, "It bleeds.")
    read(world, case)
    leave_lying(world)
    assert [one.can_take for one in inbox(world, world.dan)] == [True]
    with world.sessions() as session, session.begin():
        assert messages.need_no_answer(session, case)
        assert not messages.need_no_answer(session, case)
    assert inbox(world, world.dan) == []
    assert not take_over(world, case, world.dan)


def test_a_message_that_nobody_has_read_is_not_called_in_no_need_of_an_answer(
    world: World,
) -> None:
    case = world.signed(world.alice, world.bob)
    world.message(case, world.alice, "It bleeds.")
    with world.sessions() as session, session.begin():
        assert not messages.need_no_answer(session, case)
    assert len(inbox(world, world.bob)) == 1
