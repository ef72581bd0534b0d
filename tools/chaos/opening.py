"""Opens a scene: an installation that runs, patients who are signed in, a dermatologist's desk."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.chaos import canary
from tools.chaos.canary import MarkedPhoto
from tools.chaos.people import new_desk, new_patient
from tools.chaos.scene import Scene
from tools.chaos.stacks import Stack, database_server, new_installation
from tools.running import started

PATIENTS = 9
PHOTOS = 4


@dataclass(frozen=True)
class Plan:
    """What every scene of a run has in common."""

    weights: Path
    seed: int
    short: bool = False


@contextmanager
def opened(stack: Stack, plan: Plan) -> Iterator[Scene]:
    """A fresh installation that runs; nothing of it is left after the block."""
    folder = Path(tempfile.mkdtemp(prefix="dermqueue-chaos-"))
    try:
        with database_server(stack) as server:
            installation = new_installation(folder / "installation", stack, server, plan.weights)
            with started(installation) as running:
                patients = [new_patient(running) for _ in range(PATIENTS)]
                desk = new_desk(running)
                photos = _photos(plan.seed)
                random = np.random.default_rng(plan.seed)
                scene = Scene(stack, server, running, patients, desk, photos, random, plan.short)
                try:
                    yield scene
                finally:
                    for browser in (*patients, *scene.guests, desk):
                        browser.close()
                    installation.engine.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _photos(seed: int) -> list[MarkedPhoto]:
    return [canary.marked_photo(seed * PHOTOS + number) for number in range(PHOTOS)]
