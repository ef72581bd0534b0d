"""An epoch key ends only when its period is long over and nothing is sealed to it, however its
cases ended."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from clinic.audit_event import AuditAction
from clinic.envelope import seal
from clinic.keeper_protocol import ObjectKind
from clinic.records import (
    key_destruction,
    keys,
    review,
    screening_queue,
    sealed_objects,
    submissions,
)
from clinic.records.db import database_now
from clinic.records.key_destruction import KeyStillNeededError
from clinic.records.models import EpochKeyRow, SealedObject, Submission
from clinic.records.sealed_objects import Place
from clinic.submission import CaseState, ScreeningState
from tests.portal_tools import entries, row_of
from tests.world import PHOTO, World
from worker.screen_submission import screen

DAY = timedelta(days=1)


def ended(world: World, *, ago: timedelta = 20 * DAY) -> str:
    """The epoch key that all was sealed to is over since then; another one took its place."""
    with world.sessions() as session, session.begin():
        kid = keys.current_epoch(session).epoch.kid
        end = database_now(session) - ago
        session.execute(update(EpochKeyRow).values(not_before=end - 14 * DAY, not_after=end))
        keys.publish_epoch(session, world.master, world.root_private)
    return kid


def settle_all(world: World) -> None:
    for person in (world.alice, world.carol):
        world.keeper.settle(person.patient_id or "")


def destroy(world: World, kid: str) -> None:
    with world.sessions() as session, session.begin():
        key_destruction.destroy_epoch(session, world.auditor, kid=kid, actor="test")


def destroy_due(world: World, *, kept: timedelta = 14 * DAY) -> int:
    with world.sessions() as session, session.begin():
        return key_destruction.destroy_due_epochs(session, world.auditor, kept=kept, actor="test")


def epoch(world: World, kid: str) -> EpochKeyRow:
    with world.sessions() as session:
        return session.get_one(EpochKeyRow, kid)


def test_a_key_that_nobody_lists_is_destroyed_and_the_audit_names_it(world: World) -> None:
    settle_all(world)
    kid = ended(world)

    destroy(world, kid)

    row = epoch(world, kid)
    assert (row.private_wrapped, row.emergency_copy) == (None, None)
    assert row.destroyed_at is not None
    assert [one.detail for one in entries(world, AuditAction.EPOCH_KEY_DESTROYED)] == [kid]
    with pytest.raises(KeyStillNeededError, match="no epoch key"):
        destroy(world, kid)


def test_a_valid_key_is_refused_with_its_end(world: World) -> None:
    settle_all(world)
    with world.sessions() as session:
        current = keys.current_epoch(session).epoch
    with pytest.raises(KeyStillNeededError, match=f"valid until {current.not_after:%Y-%m-%d}"):
        destroy(world, current.kid)
    with pytest.raises(KeyStillNeededError, match="no epoch key"):
        destroy(world, "epoch-unknown")


def test_a_key_that_ended_a_moment_ago_is_kept_for_requests_under_way(world: World) -> None:
    settle_all(world)
    kid = ended(world, ago=timedelta(minutes=59))
    with pytest.raises(KeyStillNeededError, match="an hour after"):
        destroy(world, kid)
    assert destroy_due(world, kept=timedelta()) == 0


def test_a_key_that_an_object_lists_is_refused_with_their_number(world: World) -> None:
    settle_all(world)
    world.submit(world.alice)
    kid = ended(world)
    with pytest.raises(KeyStillNeededError, match="2 objects are still sealed"):
        destroy(world, kid)
    assert destroy_due(world) == 0
    assert epoch(world, kid).private_wrapped is not None


def test_an_object_that_calls_itself_moved_and_is_not_keeps_the_key(world: World) -> None:
    case = world.submit(world.alice)
    settle_all(world)
    kid = ended(world)
    with world.sessions() as session, session.begin():
        of_case = update(SealedObject).where(SealedObject.submission_id == case)
        session.execute(of_case.values(settled=True))
    with pytest.raises(KeyStillNeededError, match="2 objects"):
        destroy(world, kid)


def dead(world: World) -> str:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(session, hint=case, lease=DAY, limit=1)
        screening_queue.give_up(session, held, reason="three attempts")
    assert row_of(world, case).screening_state == ScreeningState.DEAD
    return case


def unreadable(world: World) -> str:
    case = world.submit(world.alice, photos={"close_up": b"this is no photo"})
    screen(world.screening(), case)
    assert row_of(world, case).case_state == CaseState.UNREADABLE
    return case


def abandoned(world: World) -> str:
    """Asked for new photos by the reader, and never sent."""
    case = world.claimed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        assert review.request_retake(
            session, case, reader_id=world.bob.account_id, reason="It is too dark."
        )
    assert row_of(world, case).case_state == CaseState.UNREADABLE
    return case


def photographed_again(world: World) -> str:
    """The first photos stay, though no page shows them any more."""
    case = unreadable(world)
    with world.sessions() as session, session.begin():
        submissions.replace_photos(session, session.get_one(Submission, case))
        place = Place(world.alice.patient_id or "", case, ObjectKind.PHOTO, 1, "close_up")
        recipient = keys.sealing_recipient(session, world.root_public_key)
        sealed = seal(PHOTO, context=place.context, recipients=[recipient])
        sealed_objects.add(session, world.blobs, place, sealed, sealed_by="browser")
    screen(world.screening(), case)
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW
    return case


def without_ai(world: World) -> str:
    case = world.submit(world.alice, ai=False)
    screen(world.screening(), case)
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW
    return case


def signed(world: World) -> str:
    return world.signed(world.alice, world.bob)


@pytest.mark.parametrize(
    "ending", [dead, unreadable, abandoned, photographed_again, without_ai, signed]
)
def test_however_a_case_ended_it_opens_when_its_epoch_key_is_gone(
    world: World, ending: Callable[[World], str]
) -> None:
    case = ending(world)
    settle_all(world)
    kid = ended(world)

    assert destroy_due(world) == 1

    assert epoch(world, kid).destroyed_at is not None
    with world.sessions() as session:
        rows = sealed_objects.of_submission(session, case, ObjectKind)
        assert rows
        for row in rows:
            header, file_key = world.keeper._opened(session, row)
            assert header.recipients[0].alg is not None
            assert sealed_objects.open_object(row, world.blobs, file_key=file_key)


def test_what_a_patient_gave_at_registration_and_never_used_opens_too(world: World) -> None:
    settle_all(world)
    ended(world)
    assert destroy_due(world) == 1
    with world.sessions() as session:
        for row in session.scalars(select(SealedObject)):
            _, file_key = world.keeper._opened(session, row)
            assert b"Family" in sealed_objects.open_object(row, world.blobs, file_key=file_key)


def test_a_key_is_kept_for_its_days_after_its_end(world: World) -> None:
    settle_all(world)
    kid = ended(world, ago=13 * DAY)
    assert destroy_due(world, kept=14 * DAY) == 0
    assert destroy_due(world, kept=12 * DAY) == 1
    assert epoch(world, kid).destroyed_at is not None
    assert destroy_due(world, kept=12 * DAY) == 0
