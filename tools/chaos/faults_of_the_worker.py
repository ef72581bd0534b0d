"""Faults of the analysis worker: killed, frozen, cut off between broker and claim, stalled."""

import os
import signal
import sqlite3
import time
from contextlib import closing

from clinic.submission import ScreeningState
from tools.chaos.fault import Fault
from tools.chaos.processes import kill_group, pool_children, signal_group
from tools.chaos.scene import Scene
from tools.chaos.stacks import LEASE_SECONDS, Database
from tools.supervisor import Program

TAKEN_SECONDS = 40.0
# A lease runs out, the reconciler sees it within a second, and the model is loaded anew.
AGAIN_SECONDS = LEASE_SECONDS + 5.0
STALL_NOTICED_SECONDS = 90.0


def kill_child_in_analysis(scene: Scene) -> None:
    """SIGKILL the process that holds a case; its parent starts another."""
    case = _taken(scene)
    (child,) = pool_children(scene.program("worker"))
    os.kill(child, signal.SIGKILL)
    _freed(scene, case)


def kill_worker_in_analysis(scene: Scene) -> None:
    """SIGKILL parent and child; the supervisor starts them again."""
    case = _taken(scene)
    kill_group(scene.program("worker"))
    _freed(scene, case)


def freeze_worker_in_analysis(scene: Scene) -> None:
    """SIGSTOP in the middle of a case until a second worker has finished it; then SIGCONT."""
    case = _taken(scene)
    frozen = scene.program("worker")
    try:
        _freeze_between_transactions(scene, frozen)
        with scene.another("worker"):
            scene.until(
                lambda: scene.row(case).screening_state == ScreeningState.DONE,
                TAKEN_SECONDS,
                what="no other worker finished the frozen worker's case",
            )
            signal_group(frozen, signal.SIGCONT)
            scene.pause(LEASE_SECONDS)  # the late one comes to its finish: nothing may change
    finally:
        signal_group(frozen, signal.SIGCONT)
    scene.must(scene.row(case).attempt == 2, "The case was not taken a second time.")


def _freeze_between_transactions(scene: Scene, program: Program) -> None:
    """SIGSTOP at a moment at which the program holds no lock of the database.

    On SQLite nobody else could write while it is frozen inside a transaction.
    """
    signal_group(program, signal.SIGSTOP)
    while scene.stack.database is Database.SQLITE and _is_locked(scene):
        signal_group(program, signal.SIGCONT)
        time.sleep(0.01)
        signal_group(program, signal.SIGSTOP)


def _is_locked(scene: Scene) -> bool:
    path = scene.installation.folder / "dermqueue.db"
    with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
    return False


def kill_worker_with_hint_in_hand(scene: Scene) -> None:
    """A hint leaves the broker for a frozen, idle worker that is then killed: it is lost."""
    scene.until(scene.all_ended, TAKEN_SECONDS, what="the worker was not idle")
    worker = scene.program("worker")
    signal_group(worker, signal.SIGSTOP)
    try:
        (case,) = scene.submit()
        scene.until(lambda: scene.row(case).hinted_at is not None, 10.0, what="no hint was sent")
        scene.pause(0.5)
    finally:
        kill_group(worker)


def stall_worker(scene: Scene) -> None:
    """The child is stopped for ever in the middle of a case: alive to all who look at its id."""
    _taken(scene)
    began = time.time()
    for child in pool_children(scene.program("worker")):
        os.kill(child, signal.SIGSTOP)
    scene.until(
        lambda: scene.worker_started(after=began),
        STALL_NOTICED_SECONDS,
        what="nothing restarted the stalled worker",
    )


def _taken(scene: Scene) -> str:
    """The id of a case that a worker holds now."""
    scene.until(lambda: scene.running_case() is not None, TAKEN_SECONDS, what="no case was taken")
    row = scene.running_case()
    return row.id if row is not None else _taken(scene)


def _freed(scene: Scene, case: str) -> None:
    """The reconciler gives the case back when the lease has run out."""
    scene.until(
        lambda: (
            scene.row(case).screening_state != ScreeningState.RUNNING or scene.row(case).attempt > 1
        ),
        AGAIN_SECONDS,
        what="a killed worker's case was not given back",
    )


FAULTS = (
    Fault(
        1,
        "worker's child killed",
        "the case is given back within a lease and 5 s; one result",
        kill_child_in_analysis,
    ),
    Fault(
        1,
        "worker killed",
        "the case is given back within a lease and 5 s; one result",
        kill_worker_in_analysis,
    ),
    Fault(
        2,
        "worker frozen, resumes late",
        "another worker does the work; the late finish is fenced off",
        freeze_worker_in_analysis,
    ),
    Fault(
        3,
        "hint lost with its worker",
        "the relay hints again",
        kill_worker_with_hint_in_hand,
        load_every=None,
    ),
    Fault(
        30,
        "worker alive but stalled",
        "the stall is noticed and the worker restarted",
        stall_worker,
    ),
)
