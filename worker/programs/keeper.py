"""The keeper's program: one process, one queue, no listener."""

from functools import cache

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
    app = celery_app(settings, queue=KEYS_QUEUE, tasks="worker.keeper_tasks")
    run_worker(app, queue=KEYS_QUEUE, pool="solo", log_level=settings.log_level)


@cache
def keeper() -> Keeper:
    settings = Settings.from_env(KEEPER)
    return Keeper(
        sessions=sessions_of(settings),
        master=read_master_key(needed(settings.master_key_file)),
        auditor=Auditor(secret(settings.audit_key)),
        enrolment_key=secret(settings.enrolment_key),
    )
