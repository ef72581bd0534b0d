"""Opens a scene: an installation that runs, patients who are signed in, a dermatologist's desk."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clinic.access import Role
from tools import installation as setup
from tools.chaos import canary
from tools.chaos.canary import MarkedPhoto
from tools.chaos.scene import Scene
from tools.chaos.stacks import Stack, database_server, new_installation
from tools.portal_client import PortalClient
from tools.running import Running, started

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
                patients = [_patient(running, number) for number in range(PATIENTS)]
                desk = _desk(running)
                photos = _photos(plan.seed)
                random = np.random.default_rng(plan.seed)
                try:
                    yield Scene(stack, server, running, patients, desk, photos, random, plan.short)
                finally:
                    for browser in (*patients, desk):
                        browser.close()
                    installation.engine.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _photos(seed: int) -> list[MarkedPhoto]:
    return [canary.marked_photo(seed * PHOTOS + number) for number in range(PHOTOS)]


def _patient(running: Running, number: int) -> PortalClient:
    """Somebody who registers over HTTP; name and password are markers."""
    browser = PortalClient(running.installation.base_url)
    form = {
        "email": f"patient-{number}@chaos.invalid",
        "password": canary.PASSWORD,
        "given_name": "Ada",
        "family_name": canary.FAMILY_NAME,
        "birth_date-day": "27",
        "birth_date-month": "3",
        "birth_date-year": "1985",
        "consent_care": "y",
        "consent_teledermatology": "y",
        "consent_ai": "permit",
    }
    browser.post("/register", form, page=browser.get("/register"))
    return browser


def _desk(running: Running) -> PortalClient:
    """The dermatologist, signed in by a one-time link of the demo installation."""
    person = running.people[Role.DERMATOLOGIST]
    (link,) = setup.sign_in_links(running.installation, [person]).values()
    path = link.removeprefix(running.installation.base_url)
    browser = PortalClient(running.installation.base_url)
    browser.post(path, {}, page=browser.get(path))
    return browser
