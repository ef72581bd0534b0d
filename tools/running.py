"""An installation that runs: its processes started, watched and waited for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from clinic.access import Role
from clinic.records import review, submissions
from clinic.records.models import ScreeningResult
from clinic.submission import CaseState
from tools import installation as setup
from tools.installation import DemoPerson, Installation
from tools.supervisor import Supervisor

START_SECONDS = 240.0  # a machine that is busy with much else loads the networks slowly
ANALYSIS_SECONDS = 180.0


class NotWorkingError(Exception):
    """The system cannot do its job; the message says what to look at."""


@dataclass
class Running:
    """A running installation with its people and a registered EHR client."""

    installation: Installation
    people: dict[Role, DemoPerson]
    ehr_token: str
    supervisor: Supervisor = field(default_factory=Supervisor)

    def await_ready(self) -> None:
        """Wait until portal and worker answer.

        Raises:
            NotWorkingError: the worker refuses to start, or the time is over.

        """
        give_up_at = time.monotonic() + START_SECONDS
        url = f"{self.installation.base_url}/readyz"
        while time.monotonic() < give_up_at:
            self.supervisor.watch()
            for program in self.supervisor.programs:
                if program.given_up:
                    words = last_line(program.log)
                    raise NotWorkingError(f"The {program.name} cannot start: {words}")
            parts = _parts(url)
            if parts.get("ready") and parts.get("worker"):
                return
            time.sleep(0.2)
        logs = self.installation.folder / "logs"
        raise NotWorkingError(f"Not ready after {START_SECONDS:.0f} s. Look into {logs}.")

    def await_result(self, case_id: str) -> ScreeningResult:
        """Wait for the worker's result, as the clinic's own records show it.

        Raises:
            NotWorkingError: the photo cannot be used, or no analysis was possible.

        """
        sessions = self.installation.sessions()
        give_up_at = time.monotonic() + ANALYSIS_SECONDS
        while time.monotonic() < give_up_at:
            self.supervisor.watch()
            with sessions() as session:
                row = submissions.find(session, case_id)
                found = review.result_of(session, case_id)
            if row is not None and row.case_state == CaseState.UNREADABLE:
                raise NotWorkingError(f"The photo could not be used. {row.retake_reason}")
            if row is not None and row.case_state == CaseState.AWAITING_REVIEW:
                if found is None:
                    reason = f"AI unavailable: {row.last_failure}. A human reads the case."
                    raise NotWorkingError(reason)
                return found
            time.sleep(0.1)
        raise NotWorkingError(f"No result in {ANALYSIS_SECONDS:.0f} s; the case waits.")


def prepared(installation: Installation) -> Running:
    """Make what the installation needs; nothing is started yet."""
    people = {person.role: person for person in setup.prepare(installation)}
    return Running(installation, people, setup.register_ehr_client(installation))


@contextmanager
def started(installation: Installation) -> Iterator[Running]:
    """Run the whole installation while the block runs; nothing is left afterwards."""
    running = prepared(installation)
    try:
        start(running)
        yield running
    finally:
        running.supervisor.stop()


def start(running: Running) -> None:
    for program in setup.programs(running.installation):
        running.supervisor.start(program)
    running.await_ready()


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def _parts(url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = httpx.get(url, timeout=5, trust_env=False).json()
    except (httpx.TransportError, ValueError):
        return {}
    return found
