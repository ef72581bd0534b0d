"""Memory of each program of a running installation, after one case went through it.

A program is counted with its children, each by its proportional share (PSS): a page of memory that
several processes share is split between them, so the sum over all programs is what is really used.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clinic.access import Role
from tools.bench_result import Outcome, Ratio
from tools.demo import HISTORY
from tools.installation import ROOT, Installation
from tools.lesion_drawing import save_drawn
from tools.portal_client import PortalClient
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.process_usage import usage_of
from tools.running import Running, started

SAMPLES: Final = 5
PAUSE_SECONDS: Final = 1.0
DRAWN_SEED: Final = 30
MIB: Final = 1024 * 1024


def run(*, samples: int = SAMPLES) -> Outcome:
    """Mebibytes of each program; the ratios are to a Python process that does nothing."""
    with (
        PostgresServer.started() as server,
        tempfile.TemporaryDirectory() as folder,
        _bare_python() as bare,
    ):
        database = server.fresh_database()
        weights = ROOT / "ml" / "weights"
        installation = Installation(Path(folder), free_port(), free_port(), weights, database)
        try:
            with started(installation) as running:
                _one_case(running)
                taken = [_sample(running, bare) for _ in range(samples)]
        finally:
            installation.engine.dispose()
    names = [name for name in taken[0] if name != "bare"]
    return Outcome(
        "memory",
        {"mebibytes": {name: round(taken[-1][name] / MIB, 1) for name in [*names, "bare"]}},
        tuple(
            Ratio(
                f"memory: {name}, to a bare Python process",
                "lower",
                tuple(one[name] / one["bare"] for one in taken),
            )
            for name in names
        ),
    )


@contextmanager
def _bare_python() -> Iterator[int]:
    """The process id of an interpreter that has imported nothing and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as process:
        yield process.pid
        process.communicate()


def _one_case(running: Running) -> None:
    patient = running.people[Role.PATIENT]
    client = PortalClient(running.installation.base_url)
    client.sign_in(patient.email, patient.password)
    photo = running.installation.folder / "photo.jpg"
    save_drawn(photo, seed=DRAWN_SEED)
    running.await_result(client.send_case(HISTORY, {"close_up": photo.read_bytes()}))
    client.close()


def _sample(running: Running, bare: int) -> dict[str, int]:
    time.sleep(PAUSE_SECONDS)
    found = {
        program.name: usage_of(program.process.pid).memory_bytes
        for program in running.supervisor.programs
        if program.process is not None
    }
    return {**found, "bare": usage_of(bare).memory_bytes}
