"""The relay: rows become hints; a broker that is away costs only time."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from clinic.hints import SCREEN_SUBMISSION, SETTLE_PATIENT, BrokerDownError
from clinic.records import screening_queue, submissions
from clinic.records.db import database_now
from clinic.records.models import SealedObject, Submission
from tests.fakes import InlineHints
from tests.threads import at_once
from tests.world import World
from worker import relay
from worker.relay import Relay
from worker.screen_submission import screen


def new_relay(world: World, *, down: bool = False) -> tuple[Relay, InlineHints]:
    hints = InlineHints(down=down)
    return Relay(world.sessions, hints), hints


def hinted(world: World, case: str) -> bool:
    with world.sessions() as session:
        row = submissions.find(session, case)
    assert row is not None
    return row.hinted_at is not None


def test_each_waiting_case_is_hinted_once(world: World) -> None:
    cases = [world.submit(world.alice) for _ in range(3)]
    one, hints = new_relay(world)

    assert one.hint_screening() == 3
    assert one.hint_screening() == 0

    assert hints.sent == [(SCREEN_SUBMISSION, (case,)) for case in cases]


def test_a_broker_that_is_down_leaves_the_rows_waiting(world: World) -> None:
    case = world.submit(world.alice)
    one, hints = new_relay(world, down=True)

    with pytest.raises(BrokerDownError):
        one.hint_screening()
    assert not hinted(world, case)

    hints.down = False
    assert one.hint_screening() == 1
    assert hinted(world, case)


def test_the_stamp_follows_the_send(world: World) -> None:
    """A relay that dies between the two repeats the hint; the other way round it would be lost."""
    case = world.submit(world.alice)
    seen = []

    class Looking(InlineHints):
        def send(self, task: str, *ids: str) -> None:
            seen.append(hinted(world, ids[0]))
            super().send(task, *ids)

    Relay(world.sessions, Looking()).hint_screening()

    assert seen == [False]
    assert hinted(world, case)


def test_a_hint_that_was_lost_is_sent_again(world: World) -> None:
    case = world.submit(world.alice)
    one, hints = new_relay(world)
    one.hint_screening()
    with world.sessions() as session, session.begin():
        then = database_now(session) - screening_queue.HINT_AGAIN_AFTER - timedelta(seconds=1)
        session.execute(update(Submission).values(hinted_at=then))

    assert one.hint_screening() == 1
    assert hints.sent == [(SCREEN_SUBMISSION, (case,))] * 2


def test_two_relays_do_no_harm(world: World) -> None:
    cases = {world.submit(world.alice) for _ in range(4)}
    (one, first), (other, second) = new_relay(world), new_relay(world)

    at_once(one.hint_screening, other.hint_screening)

    assert {ids[0] for _, ids in first.sent + second.sent} == cases
    services = world.screening()
    handled = [screen(services, ids[0]) for _, ids in first.sent + second.sent]
    assert sum(handled) == len(cases)


def finished_long_ago(world: World) -> None:
    with world.sessions() as session, session.begin():
        then = database_now(session) - relay.SETTLE_AFTER - timedelta(seconds=1)
        session.execute(update(SealedObject).values(created_at=then))


def test_finished_objects_are_settled_and_then_left_alone(world: World) -> None:
    world.screened(world.alice)
    one, hints = new_relay(world)
    assert one.hint_settling() == 0  # what is only seconds old may still be in use
    finished_long_ago(world)

    assert one.hint_settling() == 2  # Alice's case, and Carol's identity
    patients = {world.alice.patient_id, world.carol.patient_id}
    assert {(task, *ids) for task, ids in hints.sent} == {(SETTLE_PATIENT, one) for one in patients}

    for patient in patients:
        world.keeper.settle(patient or "")
    assert one.hint_settling() == 0


def test_a_case_at_work_does_not_ask_for_settling(world: World) -> None:
    for patient in (world.alice, world.carol):
        world.keeper.settle(patient.patient_id or "")
    world.submit(world.alice)
    finished_long_ago(world)
    assert new_relay(world)[0].hint_settling() == 0


def test_the_loop_outlives_a_broker_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = world.submit(world.alice)
    one, hints = new_relay(world, down=True)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        hints.down = len(slept) < 3

    monkeypatch.setattr(relay.time, "sleep", sleep)
    one.run(lambda: (SCREEN_SUBMISSION, (case,)) in hints.sent)

    assert relay.AWAY_PAUSE_SECONDS in slept
    assert hinted(world, case)


def test_the_loop_outlives_a_database_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = world.submit(world.alice)
    hints, slept = InlineHints(), list[float]()

    def sessions() -> Session:
        if len(slept) < 3:
            raise OperationalError("SELECT", {}, Exception("the server closed the connection"))
        return world.sessions()

    monkeypatch.setattr(relay.time, "sleep", slept.append)
    Relay(sessions, hints).run(lambda: (SCREEN_SUBMISSION, (case,)) in hints.sent)

    assert slept.count(relay.AWAY_PAUSE_SECONDS) >= 1
    assert hinted(world, case)


def test_a_long_queue_makes_no_flood_of_hints(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hint makes a worker drain the queue: the oldest cases are enough."""
    monkeypatch.setattr(relay, "BATCH", 2)
    cases = [world.submit(world.alice) for _ in range(4)]
    one, hints = new_relay(world)

    assert (one.hint_screening(), one.hint_screening()) == (2, 0)
    assert [ids[0] for _, ids in hints.sent] == cases[:2]

    screen(world.screening(), cases[0])
    assert one.hint_screening() == 0
