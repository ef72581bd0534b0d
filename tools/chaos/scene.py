"""A running installation with its people, as the faults and the checks see it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum

import httpx
import numpy as np
import redis
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from clinic.records.db import SessionFactory
from clinic.records.models import ProcessKey, Submission
from clinic.submission import CaseState, ScreeningState
from tools import installation as setup
from tools.chaos import canary
from tools.chaos.canary import MarkedPhoto
from tools.chaos.people import Patient, new_patient
from tools.chaos.processes import end, kill_group
from tools.chaos.stacks import ChaosInstallation, Stack
from tools.demo import HISTORY
from tools.portal_client import PortalClient, PortalError, SealedCase
from tools.postgres import PostgresServer
from tools.running import Running
from tools.supervisor import Program

POLL_SECONDS = 0.05
START_SECONDS = 90.0
RETRY_SECONDS = 60.0
END_SECONDS = 15.0


class NotSurvived(Exception):
    """Something that must hold did not; the message says what."""


class Ending(StrEnum):
    """How the computer's part of a case can end."""

    DONE = "done"
    DEAD = "dead"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Case:
    """A case that the portal accepted (202), and how it may end."""

    id: str
    patient: PortalClient
    endings: frozenset[Ending] = frozenset({Ending.DONE})


@dataclass(frozen=True)
class Sending:
    """One try to send a case: how long the portal took, and its status (None: no answer)."""

    seconds: float
    status: int | None
    retry_after: str | None = None


@dataclass
class Scene:
    """What a fault acts on. `cases` holds every accepted case of this installation."""

    stack: Stack
    server: PostgresServer | None
    running: Running
    patients: list[Patient]
    desk: PortalClient
    photos: list[MarkedPhoto]
    random: np.random.Generator
    short: bool = False
    cases: dict[str, Case] = field(default_factory=dict)
    trial: list[str] = field(default_factory=list)  # ids of the cases of the present trial
    sendings: list[Sending] = field(default_factory=list)  # of the present trial
    unanswered: list[tuple[PortalClient, SealedCase]] = field(default_factory=list)
    guests: list[PortalClient] = field(default_factory=list)  # patients of one fault
    _patients_turn: Iterator[int] = field(default_factory=itertools.count)
    _photos_turn: Iterator[int] = field(default_factory=itertools.count)

    @property
    def installation(self) -> ChaosInstallation:
        found = self.running.installation
        if not isinstance(found, ChaosInstallation):
            raise TypeError("A scene is made of a chaos installation.")
        return found

    @property
    def sessions(self) -> SessionFactory:
        return self.installation.sessions()

    def program(self, name: str) -> Program:
        return next(one for one in self.running.supervisor.programs if one.name == name)

    def broker(self) -> "redis.Redis":
        """A connection of our own to the broker."""
        return redis.Redis(port=self.installation.broker_port, socket_timeout=5)

    def lasting(self, seconds: float, *, short: float) -> float:
        """How long a fault lasts; the short form of the suite has less time."""
        return short if self.short else seconds

    # Waiting: the supervisor watches meanwhile, as `bin/demo` does.

    def until(self, condition: Callable[[], bool], seconds: float, *, what: str) -> float:
        """Wait for a condition; return how many seconds it took. A database that is away is no.

        Raises:
            NotSurvived: the time is over; `what` says what did not happen.

        """
        began = time.monotonic()
        while not _holds(condition):
            if time.monotonic() - began > seconds:
                raise NotSurvived(f"Within {seconds:g} s {what}.")
            self.running.supervisor.watch()
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def pause(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            self.running.supervisor.watch()
            time.sleep(POLL_SECONDS)

    @staticmethod
    def must(condition: bool, words: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Raise NotSurvived with `words` unless the condition holds."""
        if not condition:
            raise NotSurvived(words)

    # Sending.

    def submit(self, count: int = 1, photo: bytes | None = None) -> list[str]:
        """Send cases that must be accepted, over HTTP, sealed as a browser seals them.

        Raises:
            NotSurvived: the portal did not accept one.

        """
        found = []
        for _ in range(count):
            try:
                patient, form = self.form(photo)
                self.post(patient, form)
            except (PortalError, httpx.TransportError) as error:
                raise NotSurvived(f"A case could not be sent: {error}") from error
            self.must(
                form.submission_id in self.cases,
                f"A case was answered {self.sendings[-1].status} in place of 202.",
            )
            found.append(form.submission_id)
        return found

    def try_to_submit(self) -> Sending | None:
        """Send one case that the portal may refuse now; None when it gave not even the form."""
        try:
            patient, form = self.form()
        except (PortalError, httpx.TransportError):
            return None
        return self.try_to_send(patient, form)

    def form(self, photo: bytes | None = None) -> tuple[PortalClient, SealedCase]:
        """A form that a patient has filled in and not sent yet."""
        patient = self.patients[next(self._patients_turn) % len(self.patients)]
        return patient, self.form_of(patient, photo)

    def form_of(self, patient: PortalClient, photo: bytes | None = None) -> SealedCase:
        data = photo or self.photos[next(self._photos_turn) % len(self.photos)].data
        return patient.seal_case({**HISTORY, "notes": canary.NOTES}, {"close_up": data})

    def newcomer(self) -> Patient:
        """A patient who has just registered and has sent nothing yet."""
        patient = new_patient(self.running)
        self.guests.append(patient)
        return patient

    def try_to_send(self, patient: PortalClient, form: SealedCase) -> Sending:
        """Send a form; without an answer, or with a 5xx, it is kept and sent again by `retry`."""
        try:
            sent = self.post(patient, form)
        except httpx.TransportError:
            sent = Sending(0.0, None)
            self.sendings.append(sent)
        if sent.status is None or sent.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            self.unanswered.append((patient, form))
        return sent

    def retry(self) -> None:
        """Send again, as patients do, what was not answered: each form must be taken now.

        Raises:
            NotSurvived: a form is still not accepted.

        """
        waiting, self.unanswered = self.unanswered, []
        for patient, form in waiting:

            def accepted(patient: PortalClient = patient, form: SealedCase = form) -> bool:
                try:
                    return self.post(patient, form).status == httpx.codes.ACCEPTED
                except httpx.TransportError:
                    return False

            self.until(accepted, RETRY_SECONDS, what="a form was not accepted when sent again")

    @contextmanager
    def load(self, every: float, cases: int) -> Iterator[threading.Thread]:
        """Cases arrive from a thread while the block runs, one each `every` seconds."""
        stop = threading.Event()

        def send() -> None:
            for _ in range(cases):
                if stop.wait(every):
                    return
                self.try_to_submit()

        thread = threading.Thread(target=send, name="load", daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join()

    def post(self, patient: PortalClient, form: SealedCase) -> Sending:
        """Send a form once. Accepted, it is a case of this trial."""
        began = time.perf_counter()
        answer = patient.post_case(form)
        sent = Sending(
            time.perf_counter() - began, answer.status_code, answer.headers.get("Retry-After")
        )
        self.sendings.append(sent)
        if answer.status_code == httpx.codes.ACCEPTED and form.submission_id not in self.cases:
            self.cases[form.submission_id] = Case(form.submission_id, patient)
            self.trial.append(form.submission_id)
        return sent

    def forget(self, case_id: str) -> None:
        """A case that is gone, as it should be."""
        del self.cases[case_id]
        self.trial.remove(case_id)

    def expect(self, case_id: str, *endings: Ending) -> None:
        """Say that a case may end otherwise than done."""
        self.cases[case_id] = replace(self.cases[case_id], endings=frozenset(endings))

    # Looking.

    def rows(self, case_ids: list[str]) -> list[Submission]:
        with self.sessions() as session:
            return list(session.scalars(select(Submission).where(Submission.id.in_(case_ids))))

    def row(self, case_id: str) -> Submission:
        with self.sessions() as session:
            return session.get_one(Submission, case_id)

    def running_case(self, case_ids: list[str] | None = None) -> Submission | None:
        """A case of this trial that a worker holds at this moment."""
        rows = self.rows(case_ids or self.trial)
        held = (one for one in rows if one.screening_state == ScreeningState.RUNNING)
        return next(held, None)

    def all_ended(self) -> bool:
        rows = self.rows(list(self.trial))
        return len(rows) == len(set(self.trial)) and all(ending_of(row) for row in rows)

    def await_end_of(self, cases: list[str], seconds: float, *, what: str) -> None:
        """Wait until these cases have ended, in whatever way."""
        self.until(lambda: all(ending_of(row) for row in self.rows(cases)), seconds, what=what)

    # Programs.

    def serves(self) -> bool:
        """Whether the portal answers and has all that it needs."""
        try:
            url = f"{self.installation.base_url}/readyz"
            return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    @contextmanager
    def another(self, name: str) -> Iterator[Program]:
        """One more process of a program, beside the one that runs; stopped after the block."""
        twins = (one for one in setup.programs(self.installation) if one.name == name)
        twin = replace(next(twins), name=f"{name} 2")
        began = time.time()
        self.running.supervisor.start(twin)
        try:
            if name == "worker":
                self.until(
                    lambda: self.worker_started(after=began),
                    START_SECONDS,
                    what="no second worker came up",
                )
            yield twin
        finally:
            self.running.supervisor.programs.remove(twin)
            end(twin, seconds=END_SECONDS)
            kill_group(twin)

    def worker_started(self, *, after: float) -> bool:
        """Whether a worker has loaded its model since then (seconds on the wall clock)."""
        query = select(ProcessKey.started_at).where(ProcessKey.program == "worker")
        with self.sessions() as session:
            return any(at.timestamp() > after for at in session.scalars(query))


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except OperationalError:
        return False


def ending_of(row: Submission) -> Ending | None:
    """How the computer's part ended, or None while it has not."""
    if row.screening_state == ScreeningState.DEAD:
        return Ending.DEAD
    if row.screening_state != ScreeningState.DONE:
        return None
    return Ending.UNREADABLE if row.case_state == CaseState.UNREADABLE else Ending.DONE
