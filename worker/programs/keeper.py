"""The keeper's program: one process, one queue, no listener."""

import logging
import os
import threading
from functools import cache, partial

from celery import Celery
from kombu import Exchange, Queue

from clinic.escrow import Escrow, EscrowError
from clinic.hints import KEYS_QUEUE
from clinic.master_key import FileMasterKey
from clinic.records.audit_log import Auditor
from config import KEEPER, Settings, SettingsError, needed
from worker.keeper import Keeper
from worker.keeper_watchdog import KeeperWatchdog
from worker.programs.health import broker_takes_hints
from worker.programs.parts import (
    STALLED,
    celery_app,
    run_worker,
    secret,
    sessions_of,
)

_log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Answer key requests.

    Raises:
        MasterKeyError: the master key cannot be used.
        SettingsError: the emergency keys cannot be used.

    """
    keeper().master.ids()
    watchdog = keeper_watchdog()
    threading.Thread(target=watchdog.run, args=[_end_stalled], name="watchdog", daemon=True).start()
    app = keeper_app(settings)
    run_worker(app, queue=KEYS_QUEUE, pool="solo", log_level=settings.log_level)


def keeper_app(settings: Settings) -> Celery:
    """Takes messages without receipts.

    After a receipt that a frozen broker does not take, kombu counts its message as under way for
    ever, and with a prefetch of one the keeper would take no other.
    """
    app = celery_app(settings, queue=KEYS_QUEUE, tasks="worker.keeper_tasks")
    queue = Queue(KEYS_QUEUE, Exchange(KEYS_QUEUE), routing_key=KEYS_QUEUE, no_ack=True)
    app.conf.task_queues = [queue]
    return app


def _end_stalled() -> None:
    _log.error("The keeper answers nobody any more while requests wait for it: it restarts.")
    os._exit(STALLED)


@cache
def keeper_watchdog() -> KeeperWatchdog:
    settings = Settings.from_env(KEEPER)
    answers = partial(broker_takes_hints, needed(settings.broker_url), KEYS_QUEUE)
    return KeeperWatchdog(sessions_of(settings), answers)


@cache
def keeper() -> Keeper:
    settings = Settings.from_env(KEEPER)
    return Keeper(
        sessions=sessions_of(settings),
        master=FileMasterKey(needed(settings.master_key_file)),
        auditor=Auditor(secret(settings.audit_key)),
        enrolment_key=secret(settings.enrolment_key),
        escrow=_escrow(settings),
    )


def _escrow(settings: Settings) -> Escrow | None:
    try:
        return Escrow(settings.escrow_recipients) if settings.escrow_recipients else None
    except EscrowError as error:
        raise SettingsError(f"DERMQUEUE_ESCROW_RECIPIENTS cannot be used: {error}") from error
