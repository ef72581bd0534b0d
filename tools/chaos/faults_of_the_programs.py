"""Faults of relay and reconciler, and the end of all programs by order."""

import time

from tools.chaos.fault import Fault
from tools.chaos.faults_of_the_worker import kill_child_in_analysis
from tools.chaos.processes import end, kill_group
from tools.chaos.scene import Scene

DRAINED_SECONDS = 30.0
UP_SECONDS = 60.0


def kill_relay(scene: Scene) -> None:
    _kill_between_cases(scene, "relay")


def kill_reconciler(scene: Scene) -> None:
    _kill_between_cases(scene, "reconciler")


def _kill_between_cases(scene: Scene, name: str) -> None:
    """SIGKILL three times, each time with a case on its way."""
    for _ in range(3):
        scene.submit(1)
        starts = scene.program(name).starts
        kill_group(scene.program(name))
        scene.until(
            lambda starts=starts: scene.program(name).starts > starts,  # type: ignore[misc]
            UP_SECONDS,
            what=f"the {name} was not started again",
        )
        scene.pause(float(scene.random.uniform(0.2, 1.5)))


def double_relay_and_reconciler(scene: Scene) -> None:
    """Two of each at the same time, while a worker's child dies over a case."""
    with scene.another("relay"), scene.another("reconciler"):
        scene.submit(2)
        kill_child_in_analysis(scene)
        scene.pause(scene.lasting(10.0, short=3.0))


def stop_everything(scene: Scene) -> None:
    """SIGTERM to every program under load, as a deployment sends it; then all start again."""
    programs = scene.running.supervisor.programs
    began = time.monotonic()
    for program in reversed(programs):
        if program.process is not None:
            program.process.terminate()
    for program in programs:
        left = max(0.1, DRAINED_SECONDS - (time.monotonic() - began))
        scene.must(
            end(program, seconds=left), f"The {program.name} did not end in {DRAINED_SECONDS:g} s."
        )
    scene.until(scene.serves, UP_SECONDS, what="the portal did not come back")


FAULTS = (
    Fault(13, "relay killed", "hints wait and are sent; nothing is lost", kill_relay),
    Fault(13, "reconciler killed", "leases wait and are freed; nothing is lost", kill_reconciler),
    Fault(
        13,
        "two relays, two reconcilers",
        "more hints and nothing else",
        double_relay_and_reconciler,
    ),
    Fault(
        27,
        "everything ended by SIGTERM",
        "every program ends within 30 s; nothing is lost",
        stop_everything,
        cases_before=6,
    ),
)
