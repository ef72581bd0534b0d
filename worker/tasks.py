"""The inference worker's Celery tasks: each takes at most one id and calls one use case."""

from celery import shared_task
from celery.signals import worker_process_init

from clinic.hints import PURGE_EXPIRED, SCREEN_SUBMISSION
from worker import screen_submission
from worker.programs.inference import screening_services
from worker.retention import Retention


@shared_task(name=SCREEN_SUBMISSION, soft_time_limit=240, time_limit=300)
def screen_submission_task(submission_id: str) -> int:
    return screen_submission.screen(screening_services(), submission_id)


@shared_task(name=PURGE_EXPIRED, soft_time_limit=60, time_limit=90)
def purge_expired_task() -> dict[str, int]:
    services = screening_services()
    return Retention(services.sessions, services.blobs, services.auditor).apply()


@worker_process_init.connect
def _load_before_the_first_task(**_: object) -> None:
    """The prefork child loads and warms the ensemble before any work."""
    screening_services()
