"""The keeper's program: one process, one queue, no listener."""

from functools import cache

from celery import Celery
from kombu import Exchange, Queue

from clinic.hints import KEYS_QUEUE
from clinic.master_key import read_master_key
from clinic.records.audit_log import Auditor
from config import KEEPER, Settings, needed
from worker.keeper import Keeper
from worker.programs.parts import celery_app, run_worker, secret, sessions_of


def run(settings: Settings) -> None:
    """Answer key requests.

    Raises:
        MasterKeyError: the master key cannot be used.

    """
    keeper()
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


@cache
def keeper() -> Keeper:
    settings = Settings.from_env(KEEPER)
    return Keeper(
        sessions=sessions_of(settings),
        master=read_master_key(needed(settings.master_key_file)),
        auditor=Auditor(secret(settings.audit_key)),
        enrolment_key=secret(settings.enrolment_key),
    )
