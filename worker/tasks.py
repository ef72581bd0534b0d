"""The inference worker's Celery tasks: each takes at most one id and calls one use case."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import shared_task
from celery.signals import worker_process_init

from clinic.hints import PURGE_EXPIRED, SCREEN_SUBMISSION
from ml.engine import DeviceLostError
from worker import screen_submission
from worker.programs.inference import DEVICE_LOST, progress_of_this_worker, screening_services
from worker.retention import Retention

_stop = threading.Event()


@shared_task(name=SCREEN_SUBMISSION, soft_time_limit=240, time_limit=300)
def screen_submission_task(submission_id: str) -> int:
    with _progress():
        try:
            return screen_submission.screen(
                screening_services(), submission_id, stopped=_stop.is_set
            )
        except DeviceLostError:
            # Nothing in this process can reach it again; the parent starts another one.
            os._exit(DEVICE_LOST)


@shared_task(name=PURGE_EXPIRED, soft_time_limit=60, time_limit=90)
def purge_expired_task() -> dict[str, int]:
    services = screening_services()
    with _progress():
        return Retention(services.sessions, services.blobs, services.auditor).apply()


@contextmanager
def _progress() -> Iterator[None]:
    """While a task runs, the watchdog expects the process to move."""
    progress = progress_of_this_worker()
    progress.write(busy=True)
    try:
        yield
    finally:
        progress.write(busy=False)


@worker_process_init.connect
def _load_before_the_first_task(**_: Any) -> None:
    """The prefork child loads and warms the ensemble before any work.

    The parent hands on the signal to end; work in hand is then finished, not cut off.
    """
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())
    screening_services()
    progress_of_this_worker().write(busy=False)
