"""Faults of the model: a damaged file, another model's file, an engine without its device."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from clinic.records.models import ScreeningResult, Submission
from clinic.submission import ScreeningState
from ml.artifact import live_bundle
from tools.chaos.fault import Fault
from tools.chaos.faults_of_storage import flip_byte
from tools.chaos.injection import injected, start_again, started_with, stop
from tools.chaos.processes import frozen
from tools.chaos.scene import Ending, Scene, ending_of
from worker.__main__ import CANNOT_START
from worker.analyst import MAKESHIFT

REFUSED_SECONDS = 60.0
GIVEN_UP_SECONDS = 15.0
ENDED_SECONDS = 90.0
NOT_ENDED = "the cases had not ended"
BATCH = 4


def damage_model(scene: Scene) -> None:
    """One bit of one member's weights."""

    def damage(members: list[Path]) -> None:
        flip_byte(members[0], members[0].stat().st_size // 2)

    _without_its_model(scene, damage)


def exchange_model(scene: Scene) -> None:
    """A whole and valid file, but another member's."""

    def exchange(members: list[Path]) -> None:
        shutil.copyfile(members[1], members[0])

    _without_its_model(scene, exchange)


def _without_its_model(scene: Scene, harm: Callable[[list[Path]], None]) -> None:
    """The worker refuses to start; the longest waiting case goes to people; then all is well."""
    weights = scene.installation.folder / "weights"
    _copy_live_bundle(scene.installation.weights, weights)
    harm(sorted(live_bundle(weights).glob("*.safetensors")))
    worker = scene.program("worker")
    as_it_was = worker.env
    stop(worker)
    worker.env = {**as_it_was, "DERMQUEUE_WEIGHTS_DIR": str(weights)}
    try:
        scene.until(lambda: worker.given_up, REFUSED_SECONDS, what="the worker did not refuse")
        code = worker.process.returncode if worker.process else None
        scene.must(code == CANNOT_START, f"The worker ended with {code}.")
        _people_read_without(scene)
    finally:
        start_again(scene, "worker", as_it_was)
        shutil.rmtree(weights)


def _copy_live_bundle(source: Path, target: Path) -> None:
    live = live_bundle(source)
    shutil.copytree(live, target / live.name)
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, target)


def _people_read_without(scene: Scene) -> None:
    """A case that has waited too long for a worker is given to people; a fresh one waits."""
    long_waiting, fresh = scene.submit(2)
    scene.expect(long_waiting, Ending.DEAD)
    waited = timedelta(minutes=scene.installation.settings().ai_wait_minutes + 1)
    with scene.sessions() as session, session.begin():
        row = session.get_one(Submission, long_waiting)
        session.execute(
            update(Submission)
            .where(Submission.id == long_waiting)
            .values(queued_at=row.queued_at - waited)
        )
    scene.until(
        lambda: ending_of(scene.row(long_waiting)) == Ending.DEAD,
        GIVEN_UP_SECONDS,
        what="a case that waited too long was not given to people",
    )
    state = scene.row(fresh).screening_state
    scene.must(state == ScreeningState.QUEUED, f"A fresh case is {state} without a worker.")


def break_engine(scene: Scene) -> None:
    """The device has memory for one photo only; and once it is lost for good."""
    breaks = scene.installation.folder / "injected" / "breaks"
    with injected(scene, "worker", "failing_engine", str(breaks)):
        with frozen(scene.program("worker")):
            together = scene.submit(BATCH)
        scene.await_end_of(together, ENDED_SECONDS, what=NOT_ENDED)
        for row in scene.rows(together):
            scene.must(row.attempt == 1, f"A device without memory cost {row.attempt} attempts.")
        breaks.touch()
        scene.await_end_of(scene.submit(2), ENDED_SECONDS, what=NOT_ENDED)
        scene.must(not breaks.exists(), "The device was never lost.")


def take_device_away(scene: Scene) -> None:
    """A GPU is asked for, and there is none."""
    changed = {"DERMQUEUE_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    with started_with(scene, "worker", changed):
        (case,) = scene.submit(1)
        scene.await_end_of([case], ENDED_SECONDS, what=NOT_ENDED)
    with scene.sessions() as session:
        device = session.get_one(ScreeningResult, case).device or "nothing"
    scene.must(MAKESHIFT in device, f"The result says of its device: {device}")


REFUSED = "the worker refuses to start (78); who waits too long goes to people; then it goes on"
FAULTS = (
    Fault(
        21,
        "engine without memory, device lost",
        "photos are analysed one by one; after the loss by a new process",
        break_engine,
        load_every=None,
    ),
    Fault(
        21,
        "GPU wanted, none there",
        "the processor does it, and every result says so",
        take_device_away,
        load_every=None,
    ),
    Fault(22, "file of the model damaged", REFUSED, damage_model, load_every=None),
    Fault(22, "file of the model exchanged", REFUSED, exchange_model, load_every=None),
)
