"""The analysis worker: a Celery parent, and one spawned child that alone holds the ensemble."""

import threading
from contextlib import suppress
from datetime import timedelta
from functools import cache, partial

from sqlalchemy.exc import OperationalError

from clinic.audit_event import AuditAction
from clinic.hints import INFERENCE_QUEUE, CeleryHints
from clinic.json_log import start_logging
from clinic.records import keys
from clinic.records.audit_log import Auditor
from clinic.records.blob_choice import open_blob_store
from clinic.records.db import SessionFactory
from clinic.records.keeper_client import KeeperClient
from config import WORKER, Settings, needed
from ml.artifact import BundleError
from worker.analyst import EnsembleAnalyst
from worker.decode import DecodeLimits, decode_photo
from worker.programs.parts import CannotStartError, celery_app, run_worker, secret, sessions_of
from worker.screen_submission import ScreeningServices

SEEN_EVERY_SECONDS = 10.0


def run(settings: Settings) -> None:
    """Check the bundle before any process starts, then work.

    Raises:
        CannotStartError: the weights are missing, damaged or foreign.

    """
    try:
        EnsembleAnalyst.check(needed(settings.weights_dir))
    except BundleError as error:
        raise CannotStartError(str(error)) from error
    app = celery_app(settings, queue=INFERENCE_QUEUE, tasks="worker.tasks")
    run_worker(app, queue=INFERENCE_QUEUE, pool="prefork", log_level=settings.log_level)


@cache
def screening_services() -> ScreeningServices:
    """The parts of one inference process, made once: this loads the ensemble."""
    settings = Settings.from_env(WORKER)
    start_logging(WORKER, settings.log_level)  # the spawned child begins with none
    sessions = sessions_of(settings)
    auditor = Auditor(secret(settings.audit_key))
    analyst = EnsembleAnalyst.load(needed(settings.weights_dir))
    with sessions() as session, session.begin():
        identity = keys.enrol_process(
            session,
            secret(settings.enrolment_key),
            program=WORKER,
            model_version=analyst.version,
            model_fingerprint=analyst.fingerprint,
        )
        detail = f"process {identity.id}, model {analyst.version}"
        auditor.record(session, AuditAction.PROCESS_ENROLLED, WORKER, detail=detail)
    _report_alive(sessions, identity.id)
    return ScreeningServices(
        sessions=sessions,
        blobs=open_blob_store(settings),
        keeper=KeeperClient(sessions, CeleryHints(needed(settings.broker_url)), identity),
        auditor=auditor,
        decode=partial(decode_photo, limits=DecodeLimits()),
        analyst=analyst,
        root_public_key=needed(settings.root_public_key),
        lease=timedelta(seconds=settings.lease_seconds),
    )


def _report_alive(sessions: SessionFactory, process_id: str) -> None:
    def report() -> None:
        while True:
            threading.Event().wait(SEEN_EVERY_SECONDS)
            # A database that is away for a moment must not end the reports for good.
            with suppress(OperationalError), sessions() as session, session.begin():
                keys.touch_process(session, process_id)

    threading.Thread(target=report, name="alive", daemon=True).start()
