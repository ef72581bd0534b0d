"""A keeper that answers nobody is noticed; one that works, or that cannot, is left alone."""

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from clinic.keeper_protocol import KeyPurpose
from clinic.records import key_requests
from clinic.records.key_requests import NewKeyRequest
from tests.watchdog_time import Clock, Ended, TimeIsOver
from tests.world import World
from worker import keeper_watchdog
from worker.keeper_watchdog import PATIENCE_SECONDS, KeeperWatchdog


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(ends=3 * PATIENCE_SECONDS)
    monkeypatch.setattr(keeper_watchdog, "time", clock)
    return clock


def ask(world: World) -> None:
    with world.sessions() as session, session.begin():
        key_requests.ask(session, NewKeyRequest(KeyPurpose.SCREENING, ("a" * 32,), b"k" * 32))


def end() -> None:
    raise Ended


def test_requests_that_wait_in_vain_end_the_keeper_after_its_patience(
    world: World, clock: Clock
) -> None:
    ask(world)

    with pytest.raises(Ended):
        KeeperWatchdog(world.sessions, lambda: True).run(end)

    assert clock.now == PATIENCE_SECONDS + 1


def test_a_keeper_whom_nobody_asks_is_left_alone(world: World) -> None:
    with pytest.raises(TimeIsOver):
        KeeperWatchdog(world.sessions, lambda: True).run(end)


def test_a_keeper_that_answers_some_is_busy_and_not_stuck(world: World, clock: Clock) -> None:
    ask(world)
    watchdog = KeeperWatchdog(world.sessions, lambda: True)
    clock.meanwhile = watchdog.note_answer

    with pytest.raises(TimeIsOver):
        watchdog.run(end)


def test_without_the_broker_no_request_can_come_and_a_restart_would_not_help(world: World) -> None:
    ask(world)

    with pytest.raises(TimeIsOver):
        KeeperWatchdog(world.sessions, lambda: False).run(end)


def test_without_the_database_a_restart_would_not_help_either(world: World) -> None:
    def away() -> Session:
        raise OperationalError("no database", None, Exception())

    ask(world)

    with pytest.raises(TimeIsOver):
        KeeperWatchdog(away, lambda: True).run(end)
