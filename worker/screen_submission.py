"""The one use case of the worker: claim, open, clean, analyse, explain, triage, seal, save.

A hint wakes it, and it works until nothing is due. Under load whole batches are analysed at once,
while the batch behind is opened and the batch before is saved; a single photo waits for nothing.

Known bad input is a state with a reason. A fault outside the item gives the attempt back. Any
other fault puts the item back with a reason and is raised again; what was claimed beside it is put
back untouched.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from clinic.json_log import about_case
from clinic.records import screening_queue
from clinic.records.blobs import BlobStoreAwayError, StorageFullError
from clinic.records.db import DATABASE_AWAY
from clinic.records.keeper_client import KeeperUnavailableError
from clinic.records.keys import NoEpochKeyError
from clinic.records.screening_queue import WORKERS_DIED, Claim
from ml.engine import DeviceLostError
from worker import saving
from worker.analysis import Analysis
from worker.decode import DecoderDied
from worker.heartbeat import Heartbeat
from worker.opening import HistoryLostError, OpenedCase, PhotoUnusableError, open_case
from worker.services import ScreeningServices

LONGEST_DRAIN_SECONDS = 120.0
SAVING_THREADS: Final = 2

Result = TypeVar("Result")

# Faults outside the item give the attempt back; those that tell their own story are not raised.
_SPEAKING: Final = (
    KeeperUnavailableError,
    NoEpochKeyError,
    BlobStoreAwayError,
    StorageFullError,
)
_OUTSIDE: Final = (*_SPEAKING, *DATABASE_AWAY, OSError)


def never() -> bool:
    """Nobody asks this process to stop."""
    return False


def screen(
    services: ScreeningServices, hint: str | None, *, stopped: Callable[[], bool] = never
) -> int:
    """Work until nothing is due: the hinted submission first. Return how many were handled.

    When the process is to stop, the batch in hand is finished and the next one put back. A long
    queue is left after a while, well inside the task's time limit: the limit would strike in the
    middle of a case and cost it an attempt. The next hint goes on.

    Raises:
        DeviceLostError: the accelerator failed for good; the process must end.

    """
    stop_at = time.monotonic() + LONGEST_DRAIN_SECONDS

    def over() -> bool:
        return stopped() or time.monotonic() >= stop_at

    handled = 0
    with _shift(services) as shift:
        while not over() and (claims := shift.claim(hint)):
            handled += shift.work_through(claims, over)
            hint = None
    return handled


@contextmanager
def _shift(services: ScreeningServices) -> Iterator["Shift"]:
    """Threads and leases of one drain; whatever is still held at its end is put back."""
    with Heartbeat(services.sessions, services.lease) as heartbeat:
        openers = ThreadPoolExecutor(services.opening_threads, "opening")
        savers = ThreadPoolExecutor(SAVING_THREADS, "saving")
        shift = Shift(services, heartbeat, openers, savers)
        try:
            yield shift
        finally:
            openers.shutdown(cancel_futures=True)
            savers.shutdown()
            shift.put_back_the_rest()


class Shift:
    """The worker between a hint and an empty queue."""

    def __init__(
        self,
        services: ScreeningServices,
        heartbeat: Heartbeat,
        openers: ThreadPoolExecutor,
        savers: ThreadPoolExecutor,
    ) -> None:
        self._services = services
        self._held = heartbeat.held
        self._openers = openers
        self._savers = savers

    def claim(self, hint: str | None, *, suspects: bool = True) -> list[Claim]:
        services = self._services
        with services.sessions() as session, session.begin():
            claims = screening_queue.claim_batch(
                session,
                hint=hint,
                lease=services.lease,
                limit=services.analyst.batch_size,
                suspects=suspects,
            )
        self._held.update({one.submission_id: one for one in claims})
        services.note_progress()
        return claims

    def work_through(self, claims: list[Claim], over: Callable[[], bool]) -> int:
        """Work on `claims` and on what is claimed meanwhile; return how many were handled.

        A suspect is alone in the process: nothing is opened beside it.
        """
        alone = claims[0].is_suspect
        handled = 0
        opening, saved = self._open(claims), list[Future[None]]()
        while opening:
            cases = [case for one in opening if (case := one.result()) is not None]
            handled += len(opening)
            ahead = [] if alone or over() else self._open(self.claim(None, suspects=False))
            _raise_faults(saved)
            saved = self._analyse(cases)
            opening = [] if over() else ahead
        _raise_faults(saved)
        return handled

    def put_back_the_rest(self) -> None:
        for held in list(self._held.values()):
            saving.put_back(self._services, held)
            self._settled(held)

    def _open(self, claims: Sequence[Claim]) -> "list[Future[OpenedCase | None]]":
        return [self._openers.submit(_about, held, self._open_one, held) for held in claims]

    def _open_one(self, held: Claim) -> OpenedCase | None:
        """Open a case; None when that was all that could be done with it."""
        try:
            case = open_case(self._services, held)
        except PhotoUnusableError as known:
            saving.ask_for_retake(self._services, held, str(known))
        except HistoryLostError as known:
            saving.give_up(self._services, held, reason=str(known))
        except (*_SPEAKING, DecoderDied) as known:
            self._give_back(held, known)
        except Exception as fault:
            self._give_back(held, fault)
            raise
        else:
            self._services.note_progress()
            if not held.is_last_look:
                return case
            saving.give_up(self._services, held, reason=WORKERS_DIED)
        self._settled(held)
        return None

    def _analyse(self, cases: Sequence[OpenedCase]) -> list[Future[None]]:
        """Analyse together; after a fault each alone, to find the one that it belongs to."""
        photos = [case.pixels for case in cases if case.pixels is not None]
        start = time.perf_counter()
        try:
            analyses = iter(self._services.analyst.analyse(photos) if photos else [])
        except DeviceLostError as lost:
            for case in cases:
                self._give_back(case.held, lost)
            raise
        except Exception as fault:
            if len(cases) == 1:
                with about_case(cases[0].held.submission_id):
                    self._give_back(cases[0].held, fault)
                    raise
            return [saved for case in cases for saved in self._analyse([case])]
        seconds = round((time.perf_counter() - start) / max(1, len(photos)), 4)
        self._services.note_progress()
        for case in cases:
            case.watch.seconds["analyse"] = seconds
        found = [None if case.pixels is None else next(analyses) for case in cases]
        return [
            self._savers.submit(_about, case.held, self._save, case, analysis)
            for case, analysis in zip(cases, found, strict=True)
        ]

    def _save(self, case: OpenedCase, analysis: Analysis | None) -> None:
        try:
            saving.save(self._services, case, analysis)
        except Exception as fault:
            self._give_back(case.held, fault)
            raise
        self._settled(case.held)

    def _give_back(self, held: Claim, fault: Exception) -> None:
        spent = not isinstance(fault, _OUTSIDE)
        saving.give_back(self._services, held, reason=_reason(fault), spent=spent)
        self._settled(held)

    def _settled(self, held: Claim) -> None:
        """Each end is progress, also a case given back: a keeper that is away is no stall."""
        self._held.pop(held.submission_id, None)
        self._services.note_progress()


def _about(held: Claim, work: Callable[..., Result], *arguments: object) -> Result:
    """Work on one case in a thread of its own; what is logged there names the case."""
    with about_case(held.submission_id):
        return work(*arguments)


def _reason(fault: Exception) -> str:
    """What may be stored of a fault: its kind; only our own messages tell nothing of a person."""
    if isinstance(fault, DATABASE_AWAY):
        return "the database was away"
    return str(fault) if isinstance(fault, _SPEAKING) else type(fault).__name__


def _raise_faults(saved: Sequence[Future[None]]) -> None:
    for one in saved:
        one.result()
