"""A worker that lives but does not move is noticed; one that works or has no work is left alone."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from clinic.records import screening_queue
from tests.watchdog_time import Clock, Ended, TimeIsOver
from tests.world import World
from worker import watchdog
from worker.progress import ProgressFile
from worker.watchdog import Watchdog

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(ends=5 * PATIENCE)
    monkeypatch.setattr(watchdog, "time", clock)
    return clock


@pytest.fixture
def progress(tmp_path: Path) -> Iterator[ProgressFile]:
    return ProgressFile(tmp_path / "sign")


def hinted_case(world: World) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        screening_queue.stamp_hints(session, [case])


def ends(world: World, progress: ProgressFile) -> bool:
    def end() -> None:
        raise Ended

    try:
        Watchdog(world.sessions, progress, PATIENCE).run(end)
    except Ended:
        return True
    except TimeIsOver:
        return False
    raise AssertionError("it stopped watching")


def test_a_busy_worker_that_does_not_move_is_ended(
    world: World, progress: ProgressFile, clock: Clock
) -> None:
    progress.write(busy=True)
    assert ends(world, progress)
    assert PATIENCE < clock.now < 2 * PATIENCE


def test_an_idle_worker_that_takes_no_hint_is_ended(
    world: World, progress: ProgressFile, clock: Clock
) -> None:
    hinted_case(world)
    progress.write(busy=False)
    assert ends(world, progress)
    assert clock.now > PATIENCE


def test_a_worker_that_moves_is_left_alone(
    world: World, progress: ProgressFile, clock: Clock
) -> None:
    hinted_case(world)
    clock.meanwhile = progress.note
    assert not ends(world, progress)


def test_an_idle_worker_without_work_is_left_alone(world: World, progress: ProgressFile) -> None:
    world.submit(world.alice)  # nobody has told the worker of it
    progress.write(busy=False)
    assert not ends(world, progress)


def test_a_worker_that_is_still_loading_is_left_alone(world: World, progress: ProgressFile) -> None:
    hinted_case(world)
    assert not ends(world, progress)


def test_a_child_that_has_died_is_left_to_its_parent(world: World, progress: ProgressFile) -> None:
    progress.path.write_text("4194305 1", encoding="ascii")  # above the largest process id
    assert not ends(world, progress)


def test_a_database_that_is_away_ends_no_worker(world: World, progress: ProgressFile) -> None:
    hinted_case(world)
    progress.write(busy=False)

    def sessions() -> Session:
        raise OperationalError("SELECT", {}, Exception("the server closed the connection"))

    world.sessions = sessions
    assert not ends(world, progress)


def test_a_sign_says_whose_it_is_and_that_it_moved(progress: ProgressFile) -> None:
    assert progress.read() is None
    progress.write(busy=False)
    first = progress.read()
    assert first is not None
    assert not first.busy
    threading.Event().wait(0.02)
    progress.note()
    second = progress.read()
    assert second is not None
    assert second.busy
    assert (second.pid, second.moved_at > first.moved_at) == (first.pid, True)
    progress.clear()
    assert progress.read() is None


def test_two_workers_on_one_machine_have_signs_of_their_own() -> None:
    assert ProgressFile.of_parent(1) != ProgressFile.of_parent(2)
