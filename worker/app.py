"""Joins the parts of the four background programs: the one place here that reads settings."""

import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from pathlib import Path

from celery import Celery

from clinic.hints import (
    BROKER_SETTINGS,
    INFERENCE_QUEUE,
    KEYS_QUEUE,
    PURGE_EXPIRED,
    CeleryHints,
)
from clinic.master_key import read_master_key
from clinic.records import keys
from clinic.records.audit_log import Auditor
from clinic.records.blobs import BlobStore
from clinic.records.db import SessionFactory, make_engine, make_session_factory
from clinic.records.keeper_client import KeeperClient
from config import KEEPER, RECONCILER, RELAY, WORKER, Secret, Settings
from worker.analyst import EnsembleAnalyst
from worker.decode import DecodeLimits, decode_photo
from worker.keeper import Keeper
from worker.reconciler import Reconciler
from worker.relay import Relay
from worker.screen_submission import ScreeningServices

SEEN_EVERY_SECONDS = 10.0


TASKS_OF = {INFERENCE_QUEUE: "worker.tasks", KEYS_QUEUE: "worker.keeper_tasks"}


def celery_app(settings: Settings, *, queue: str) -> Celery:
    app = Celery(f"dermqueue-{queue}", broker=settings.broker_url, include=[TASKS_OF[queue]])
    app.conf.update(
        BROKER_SETTINGS,
        task_acks_late=False,
        task_track_started=False,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
        worker_soft_shutdown_timeout=30,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        beat_schedule={
            "purge": {
                "task": PURGE_EXPIRED,
                "schedule": 600.0,
                "options": {"queue": INFERENCE_QUEUE, "expires": 300},
            }
        },
    )
    return app


def run_inference(settings: Settings) -> None:
    """The analysis worker. The bundle is checked before any process starts."""
    EnsembleAnalyst.check(_bundle(settings))
    app = celery_app(settings, queue=INFERENCE_QUEUE)
    _run_worker(app, queue=INFERENCE_QUEUE, pool="prefork", log_level=settings.log_level)


def run_keeper(settings: Settings) -> None:
    app = celery_app(settings, queue=KEYS_QUEUE)
    keeper()
    _run_worker(app, queue=KEYS_QUEUE, pool="solo", log_level=settings.log_level)


def run_relay(settings: Settings) -> None:
    broker = settings.broker_url or ""
    Relay(_sessions(settings), CeleryHints(broker)).run(_stop_on_signal())


def run_reconciler(settings: Settings) -> None:
    patience = timedelta(minutes=settings.ai_wait_minutes)
    auditor = Auditor(_secret(settings.audit_key))
    Reconciler(_sessions(settings), auditor, patience).run(_stop_on_signal())


def run_beat(settings: Settings) -> None:
    app = celery_app(settings, queue=INFERENCE_QUEUE)
    app.Beat(schedule=":memory:", loglevel=settings.log_level).run()


def _run_worker(app: Celery, *, queue: str, pool: str, log_level: str) -> None:
    app.worker_main(
        ["worker", "-Q", queue, "-P", pool, "-c", "1", "-n", f"{queue}@%h", "-l", log_level]
        + ["--without-gossip", "--without-mingle"]
    )


@cache
def screening_services() -> ScreeningServices:
    """The parts of one inference process, made once: this loads the ensemble."""
    settings = Settings.from_env(WORKER)
    sessions = _sessions(settings)
    analyst = EnsembleAnalyst.load(_bundle(settings))
    with sessions() as session, session.begin():
        identity = keys.enrol_process(
            session,
            _secret(settings.enrolment_key),
            program=WORKER,
            model_version=analyst.version,
            model_fingerprint=analyst.fingerprint,
        )
    _report_alive(sessions, identity.id)
    return ScreeningServices(
        sessions=sessions,
        blobs=BlobStore(settings.blob_dir),
        keeper=KeeperClient(sessions, CeleryHints(settings.broker_url or ""), identity),
        auditor=Auditor(_secret(settings.audit_key)),
        decode=partial(decode_photo, limits=DecodeLimits()),
        analyst=analyst,
        root_public_key=settings.root_public_key or b"",
        lease=timedelta(seconds=settings.lease_seconds),
    )


@cache
def keeper() -> Keeper:
    settings = Settings.from_env(KEEPER)
    if settings.master_key_file is None:
        raise LookupError("DERMQUEUE_MASTER_KEY_FILE is not set.")
    return Keeper(
        sessions=_sessions(settings),
        master=read_master_key(settings.master_key_file),
        auditor=Auditor(_secret(settings.audit_key)),
        enrolment_key=_secret(settings.enrolment_key),
    )


def _report_alive(sessions: SessionFactory, process_id: str) -> None:
    def report() -> None:
        while True:
            threading.Event().wait(SEEN_EVERY_SECONDS)
            with sessions() as session, session.begin():
                keys.touch_process(session, process_id)

    threading.Thread(target=report, name="alive", daemon=True).start()


def _sessions(settings: Settings) -> SessionFactory:
    return make_session_factory(make_engine(settings.database_url))


def _secret(secret: Secret | None) -> bytes:
    return secret.value if secret else b""


def _bundle(settings: Settings) -> Path:
    if settings.model_bundle is None:
        raise LookupError("DERMQUEUE_MODEL_BUNDLE is not set.")
    return settings.model_bundle


def _stop_on_signal() -> Callable[[], bool]:
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    return stop.is_set


PROGRAMS = {
    "inference": (WORKER, run_inference),
    "keeper": (KEEPER, run_keeper),
    "relay": (RELAY, run_relay),
    "reconciler": (RECONCILER, run_reconciler),
    "beat": (RELAY, run_beat),
}
