"""Blind first reads and the times of a reading, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import func, select

from clinic.records import first_reads, review, submissions
from clinic.records.db import database_now
from clinic.records.first_reads import Impression
from clinic.records.models import FirstRead, Reading, Submission
from tests.world import World


def times(world: World, case: str) -> Reading:
    with world.sessions() as session:
        found = first_reads.reading(session, case, reader_id=world.bob.account_id)
    assert found is not None
    return found


def note(world: World, what, case: str) -> None:
    with world.sessions() as session, session.begin():
        what(session, case, reader_id=world.bob.account_id)


def test_a_read_keeps_its_order_its_confidence_and_its_urgency(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    blind = Impression("mel", "low", ("nv", "bkl"), 0)
    with world.sessions() as session, session.begin():
        first_reads.record(session, case, reader_id=world.bob.account_id, blind=blind)
    with world.sessions() as session:
        found = first_reads.find(session, case)
    assert found is not None
    kept = Impression(found.impression, found.confidence, tuple(found.alternatives), found.urgency)
    assert kept == blind


def test_an_earlier_version_s_row_has_no_alternatives_and_no_urgency(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        values = {
            "submission_id": case,
            "reader_id": world.bob.account_id,
            "impression": "nv",
            "confidence": "low",
            "recorded_at": database_now(session),
        }
        session.execute(FirstRead.__table__.insert().values(values))
    with world.sessions() as session:
        found = first_reads.find(session, case)
    assert found is not None
    assert (found.alternatives, found.urgency) == ([], None)


def test_start_reveal_and_end_are_noted_once_in_their_order(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    note(world, first_reads.start, case)
    begun = times(world, case)
    assert (begun.revealed_at, begun.decided_at) == (None, None)
    note(world, first_reads.reveal, case)
    shown = times(world, case)
    for what in (first_reads.start, first_reads.reveal, first_reads.decide):
        note(world, what, case)
    ended = times(world, case)
    note(world, first_reads.decide, case)

    assert (ended.started_at, ended.revealed_at) == (begun.started_at, shown.revealed_at)
    assert ended.started_at <= ended.revealed_at <= ended.decided_at
    assert times(world, case).decided_at == ended.decided_at


def test_a_clock_that_jumped_back_turns_no_order_round(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    note(world, first_reads.start, case)
    with world.sessions() as session, session.begin():
        row = session.scalars(select(Reading)).one()
        row.started_at = ahead = database_now(session) + timedelta(hours=1)
    note(world, first_reads.reveal, case)
    note(world, first_reads.decide, case)
    found = times(world, case)
    assert (found.started_at, found.revealed_at, found.decided_at) == (ahead, ahead, ahead)


def test_a_signature_ends_the_reading(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session:
        report = submissions.signed_report(session, case)
    assert report is not None
    assert times(world, case).decided_at is not None
    assert abs(times(world, case).decided_at - report.signed_at) < timedelta(seconds=5)


def test_new_photos_begin_a_new_reading(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        assert review.request_retake(session, case, reader_id=world.bob.account_id, reason="Dark.")
    with world.sessions() as session, session.begin():
        submissions.replace_photos(session, session.get_one(Submission, case))
    with world.sessions() as session:
        assert first_reads.reading(session, case, reader_id=world.bob.account_id) is None


def test_two_tabs_at_once_leave_one_read_and_one_start(world: World) -> None:
    case = world.claimed(world.alice, world.bob)

    def press(impression: str) -> None:
        with world.sessions() as session, session.begin():
            first_reads.start(session, case, reader_id=world.bob.account_id)
            blind = Impression(impression, "low")
            first_reads.record(session, case, reader_id=world.bob.account_id, blind=blind)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(press, ("nv", "mel", "bcc", "bkl")))

    with world.sessions() as session:
        for table in (FirstRead, Reading):
            assert session.scalar(select(func.count()).select_from(table)) == 1
