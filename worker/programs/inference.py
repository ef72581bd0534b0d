"""The analysis worker: a Celery parent, and one spawned child that alone holds the ensemble."""

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any

import billiard
from celery.signals import worker_shutting_down
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.hints import INFERENCE_QUEUE, CeleryHints
from clinic.json_log import start_logging
from clinic.records import keys
from clinic.records.audit_log import Auditor
from clinic.records.blob_choice import open_blob_store
from clinic.records.db import DATABASE_AWAY, SessionFactory
from clinic.records.keeper_client import KeeperClient
from clinic.records.keys import ProcessIdentity
from config import WORKER, Settings, needed
from ml.artifact import BundleError
from worker.analyst import EnsembleAnalyst
from worker.decode import DecodeLimits, DecoderPool
from worker.programs.parts import (
    STALLED,
    CannotStartError,
    celery_app,
    run_worker,
    secret,
    sessions_of,
)
from worker.progress import ProgressFile
from worker.services import ScreeningServices
from worker.watchdog import Watchdog

DEVICE_LOST = 70  # EX_SOFTWARE of sysexits.h: the child ends, the parent starts another
SEEN_EVERY_SECONDS = 10.0
ASK_DATABASE_EVERY_SECONDS = 1.0
MOST_OPENING_THREADS = 8  # each may use a connection to the database

_log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Check the bundle before any process starts, then work.

    Raises:
        CannotStartError: the weights are missing, damaged or foreign.

    """
    try:
        EnsembleAnalyst.check(needed(settings.weights_dir))
    except BundleError as error:
        raise CannotStartError(str(error)) from error
    progress = ProgressFile.of_parent(os.getpid())
    progress.clear()
    watchdog = Watchdog(sessions_of(settings), progress, settings.lease_seconds)
    threading.Thread(target=watchdog.run, args=[_end_stalled], name="watchdog", daemon=True).start()
    app = celery_app(settings, queue=INFERENCE_QUEUE, tasks="worker.tasks")
    try:
        run_worker(app, queue=INFERENCE_QUEUE, pool="prefork", log_level=settings.log_level)
    finally:
        progress.clear()


def progress_of_this_worker() -> ProgressFile:
    """The pool's child leaves its signs of progress for its parent."""
    return ProgressFile.of_parent(os.getppid())


def _end_stalled() -> None:
    """Freeze or block as they may: none of this process's threads is asked."""
    _log.error("The worker does not move any more while work waits for it: it restarts.")
    _signal_children(signal.SIGKILL)
    os._exit(STALLED)


@worker_shutting_down.connect
def _tell_the_child(**_: Any) -> None:
    """The parent alone may have been told to stop; the child finishes what it has in hand."""
    _signal_children(signal.SIGTERM)


def _signal_children(number: signal.Signals) -> None:
    for child in billiard.active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)


@cache
def screening_services() -> ScreeningServices:
    """The parts of one inference process, made once: this loads and warms the ensemble.

    Only a process that is warm enrols, and only an enrolled one counts as ready.
    """
    settings = Settings.from_env(WORKER)
    start_logging(WORKER, settings.log_level)  # the spawned child begins with none
    sessions = sessions_of(settings)
    auditor = Auditor(secret(settings.audit_key))
    analyst = EnsembleAnalyst.load(needed(settings.weights_dir), device=settings.device)
    threads = min(os.cpu_count() or 1, MOST_OPENING_THREADS)
    decoders = DecoderPool(threads, limits=DecodeLimits())
    identity = _enrolled(sessions, auditor, analyst, secret(settings.enrolment_key))
    _report_alive(sessions, identity.id)
    return ScreeningServices(
        sessions=sessions,
        blobs=open_blob_store(settings),
        keeper=KeeperClient(sessions, CeleryHints(needed(settings.broker_url)), identity),
        auditor=auditor,
        decode=decoders.decode,
        analyst=analyst,
        root_public_key=needed(settings.root_public_key),
        lease=timedelta(seconds=settings.lease_seconds),
        opening_threads=threads + 1,  # one may wait for its keys while the others decode
        note_progress=progress_of_this_worker().note,
    )


def _enrolled(
    sessions: SessionFactory, auditor: Auditor, analyst: EnsembleAnalyst, key: bytes
) -> ProcessIdentity:
    """Enrol this process; a database that is away is waited for."""

    def enrol(session: Session) -> ProcessIdentity:
        identity = keys.enrol_process(
            session,
            key,
            program=WORKER,
            model_version=analyst.version,
            model_fingerprint=analyst.fingerprint,
        )
        about = f"model {analyst.version}, {analyst.engine} on {analyst.device}"
        detail = f"process {identity.id}, {about}"
        auditor.record(session, AuditAction.PROCESS_ENROLLED, WORKER, detail=detail)
        return identity

    while True:
        with suppress(*DATABASE_AWAY), sessions() as session, session.begin():
            return enrol(session)
        time.sleep(ASK_DATABASE_EVERY_SECONDS)


def _report_alive(sessions: SessionFactory, process_id: str) -> None:
    def report() -> None:
        while True:
            threading.Event().wait(SEEN_EVERY_SECONDS)
            # A database that is away for a moment must not end the reports for good.
            with suppress(*DATABASE_AWAY), sessions() as session, session.begin():
                keys.touch_process(session, process_id)

    threading.Thread(target=report, name="alive", daemon=True).start()
