"""Submissions: one id is one case, and new photos start it again."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from clinic.keeper_protocol import ObjectKind
from clinic.records import first_reads, review, sealed_objects, submissions
from clinic.records.db import database_now, new_id
from clinic.records.models import Submission
from clinic.records.submissions import NewSubmission, NotYourSubmissionError
from clinic.submission import CaseState, ForbiddenMoveError, ScreeningState
from tests.threads import at_once
from tests.world import World


def new(world: World, submission_id: str) -> NewSubmission:
    with world.sessions() as session:
        due = database_now(session) + timedelta(days=1)
    return NewSubmission(
        submission_id=submission_id,
        patient_id=world.alice.patient_id or "",
        clinic_id=world.clinic_id,
        body_site="back",
        body_side="left",
        ai_permitted=True,
        due_at=due,
    )


def test_a_new_case_waits_in_the_queue(world: World) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session:
        row = submissions.find(session, case)
    assert row is not None
    assert (row.screening_state, row.case_state) == (ScreeningState.QUEUED, CaseState.RECEIVED)
    assert (row.attempt, row.hinted_at, row.urgency) == (0, None, None)


def test_the_same_id_is_the_same_case(world: World) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session:
        found = submissions.existing(session, case, patient_id=world.alice.patient_id or "")
        nothing = submissions.existing(session, new_id(), patient_id=world.alice.patient_id or "")
    assert found is not None
    assert found.id == case
    assert nothing is None


def test_the_id_of_somebody_else_s_case_is_refused(world: World) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session, pytest.raises(NotYourSubmissionError):
        submissions.existing(session, case, patient_id=world.carol.patient_id or "")


def test_twenty_senders_of_one_id_make_one_case(world: World) -> None:
    case, wanted = new_id(), None
    wanted = new(world, case)

    def send() -> bool:
        with world.sessions() as session:
            try:
                with session.begin():
                    if submissions.existing(session, case, patient_id=wanted.patient_id):
                        return False
                    submissions.create(session, wanted)
            except IntegrityError:
                return False
        return True

    assert sum(at_once(*[send] * 20)) == 1
    with world.sessions() as session:
        assert len(submissions.of_patient(session, wanted.patient_id)) == 1


def test_a_patient_s_cases_come_newest_first_and_only_theirs(world: World) -> None:
    cases = [world.submit(world.alice) for _ in range(3)]
    world.submit(world.carol)
    with world.sessions() as session:
        found = submissions.of_patient(session, world.alice.patient_id or "")
    assert [row.id for row in found] == cases[::-1]


def retake(world: World) -> str:
    """A read case that asks for new photos."""
    case = world.first_read(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        reader = world.bob.account_id
        assert review.request_retake(session, case, reader_id=reader, reason="Blurred.")
    return case


def test_new_photos_send_the_case_through_screening_again(world: World) -> None:
    case = retake(world)
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        assert sealed_objects.next_slot(session, case, ObjectKind.PHOTO) == 1
        submissions.replace_photos(session, row)

    with world.sessions() as session:
        row = submissions.find(session, case)
        left = sealed_objects.of_submission(session, case, ObjectKind)
        first_read = first_reads.find(session, case)
    assert row is not None
    assert (row.screening_state, row.case_state) == (ScreeningState.QUEUED, CaseState.RECEIVED)
    assert (row.attempt, row.hinted_at, row.retake_reason) == (0, None, None)
    assert [one.kind for one in left] == [ObjectKind.HISTORY]
    assert first_read is None, "the new photos must be read blind again"


@pytest.mark.parametrize("state", ["received", "awaiting_review", "signed"])
def test_photos_are_replaced_only_when_they_were_asked_for(world: World, state: str) -> None:
    case = world.screened(world.alice)
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).where(Submission.id == case).values(case_state=state))
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        with pytest.raises(ForbiddenMoveError):
            submissions.replace_photos(session, row)
        session.rollback()


def test_the_slot_of_a_photo_is_never_used_again(world: World) -> None:
    case = world.submit(world.alice, photos={"close_up": b"1", "overview": b"2"})
    with world.sessions() as session:
        assert sealed_objects.next_slot(session, case, ObjectKind.PHOTO) == 2
        assert sealed_objects.next_slot(session, new_id(), ObjectKind.PHOTO) == 0


def test_a_claim_counts_in_the_facts_while_it_lasts_and_after_signing(world: World) -> None:
    held, signed = world.first_read(world.alice, world.bob), world.signed(world.alice, world.bob)

    def owner(case: str) -> str | None:
        with world.sessions() as session:
            row = submissions.find(session, case)
            assert row is not None
            return submissions.facts(session, row).claimed_by

    assert owner(held) == owner(signed) == world.bob.account_id
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(Submission).values(claim_until=past))
    assert owner(held) is None
    assert owner(signed) == world.bob.account_id


def test_the_facts_name_the_first_reader_and_the_signature(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session:
        row = submissions.find(session, case)
        assert row is not None
        facts = submissions.facts(session, row)
    assert (facts.first_read_by, facts.signed) == (world.bob.account_id, True)
    assert (facts.patient_id, facts.clinic_id) == (world.alice.patient_id, world.clinic_id)


def test_the_facts_name_who_reads_a_later_visit_of_the_same_place_now(world: World) -> None:
    earlier = world.signed(world.alice, world.bob)
    elsewhere = world.claimed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Submission, elsewhere).body_site = "scalp"
    world.claimed(world.carol, world.bob)
    assert readers_of_later_visits(world, earlier) == set()

    later = world.claimed(world.alice, world.dan)
    assert readers_of_later_visits(world, earlier) == {world.dan.account_id}
    assert readers_of_later_visits(world, later) == set()
    assert readers_of_later_visits(world, elsewhere) == set()

    with world.sessions() as session, session.begin():
        session.get_one(Submission, later).claim_until = database_now(session)
    assert readers_of_later_visits(world, earlier) == set()


def test_a_reader_of_a_later_visit_is_named_no_longer_once_that_is_signed(world: World) -> None:
    earlier = world.submit(world.alice)
    world.signed(world.alice, world.dan)
    assert readers_of_later_visits(world, earlier) == set()


def readers_of_later_visits(world: World, case: str) -> set[str]:
    with world.sessions() as session:
        row = submissions.find(session, case)
        assert row is not None
        return set(submissions.facts(session, row).compared_by)


def test_earlier_visits_are_of_the_same_patient_and_place_the_newest_first(world: World) -> None:
    first, second = world.submit(world.alice), world.submit(world.alice)
    elsewhere, _ = world.submit(world.alice), world.submit(world.carol)
    now, _ = world.submit(world.alice), world.submit(world.alice)
    with world.sessions() as session, session.begin():
        session.get_one(Submission, elsewhere).body_site = "scalp"
        session.get_one(Submission, second).body_side = "right"
    with world.sessions() as session:
        row = submissions.find(session, now)
        assert row is not None
        assert [one.id for one in submissions.earlier_visits(session, row)] == [second, first]
