"""What several programs are made of."""

import signal
import threading
from collections.abc import Callable

from celery import Celery, signals

from clinic.hints import BROKER_SETTINGS, INFERENCE_QUEUE, PURGE_EXPIRED
from clinic.records.db import SessionFactory, every_clinic_sessions, make_engine
from config import Secret, Settings, needed

PURGE_EVERY_SECONDS = 600.0
STALLED = 75  # EX_TEMPFAIL of sysexits.h: a restart helps


@signals.setup_logging.connect
def _keep_our_logs(**_: object) -> None:
    """Celery sets up logs of its own unless somebody says that this is done: `__main__` did."""


class CannotStartError(Exception):
    """The program refuses to start; the message says what to mend."""


def celery_app(settings: Settings, *, queue: str, tasks: str | None) -> Celery:
    """A Celery app over one module of tasks, or over none where tasks are only sent by name."""
    include = [tasks] if tasks else []
    app = Celery(f"dermqueue-{queue}", broker=settings.broker_url, include=include)
    app.conf.update(
        BROKER_SETTINGS,
        broker_transport="worker.broker_transport:Transport",
        task_acks_late=False,
        task_track_started=False,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
        worker_soft_shutdown_timeout=30,
        worker_hijack_root_logger=False,
        # Whoever can write to the broker could otherwise stop a worker by a control message.
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
        beat_schedule={
            "purge": {
                "task": PURGE_EXPIRED,
                "schedule": PURGE_EVERY_SECONDS,
                "options": {"queue": INFERENCE_QUEUE, "expires": PURGE_EVERY_SECONDS},
            }
        },
    )
    return app


def run_worker(app: Celery, *, queue: str, pool: str, log_level: str) -> None:
    app.worker_main(
        [
            *("--quiet", "worker", "-Q", queue, "-P", pool, "-c", "1", "-n", f"{queue}@%h"),
            *("-l", log_level, "--without-gossip", "--without-mingle"),
        ]
    )


def sessions_of(settings: Settings) -> SessionFactory:
    return every_clinic_sessions(make_engine(needed(settings.database_url)))


def secret(setting: Secret | None) -> bytes:
    return needed(setting).value


def stop_on_signal() -> Callable[[], bool]:
    """Tells whether the program was asked to end."""
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    return stop.is_set
