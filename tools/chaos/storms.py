"""Storms: several faults at once, their kinds and times from the run's seed."""

import os
import signal
import time
from collections.abc import Callable

from tools.chaos.fault import Fault
from tools.chaos.faults_of_the_broker import forget_everything
from tools.chaos.processes import kill_group, pool_children
from tools.chaos.scene import Scene

CASES, CASES_SHORT = 60, 10
CASE_EVERY_SECONDS = 1.0
EVENTS, EVENTS_SHORT = 14, 4
LONGEST_OUTAGE_SECONDS = 6.0


def storm(scene: Scene) -> None:
    """Workers, broker, relay and reconciler die at random times while cases arrive."""
    cases, events = (CASES_SHORT, EVENTS_SHORT) if scene.short else (CASES, EVENTS)
    kinds = scene.random.choice(len(_KINDS), size=events)
    times = sorted(scene.random.uniform(0.0, cases * CASE_EVERY_SECONDS, size=events))
    began = time.monotonic()
    with scene.load(CASE_EVERY_SECONDS, cases) as load:
        for kind, at in zip(kinds, times, strict=True):
            scene.pause(began + float(at) - time.monotonic())
            _KINDS[kind](scene)
        while load.is_alive():
            scene.pause(0.1)


def _kill_child(scene: Scene) -> None:
    for child in pool_children(scene.program("worker")):
        os.kill(child, signal.SIGKILL)


def _kill_broker(scene: Scene) -> None:
    forget_everything(scene, away=float(scene.random.uniform(0.5, LONGEST_OUTAGE_SECONDS)))


def _kill(name: str) -> Callable[[Scene], None]:
    def kill(scene: Scene) -> None:
        kill_group(scene.program(name))

    return kill


_KINDS: tuple[Callable[[Scene], None], ...] = (
    _kill_child,
    _kill("worker"),
    _kill_broker,
    _kill("relay"),
    _kill("reconciler"),
)

FAULTS = (
    Fault(
        31,
        "storm of 1, 4 and 13",
        "nothing is lost, nothing is done twice",
        storm,
        recover_seconds=240.0,
        load_every=None,
        storm=True,
    ),
)
