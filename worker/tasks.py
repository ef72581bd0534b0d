"""The Celery tasks: each takes at most one opaque id and calls one use case."""

from celery import shared_task

from clinic.hints import ANSWER_KEY_REQUEST, PURGE_EXPIRED, SCREEN_SUBMISSION, SETTLE_PATIENT
from worker import app, purge, screen_submission


@shared_task(name=SCREEN_SUBMISSION, soft_time_limit=240, time_limit=300)
def screen_submission_task(submission_id: str) -> int:
    return screen_submission.screen(app.screening_services(), submission_id)


@shared_task(name=PURGE_EXPIRED, soft_time_limit=60, time_limit=90)
def purge_expired_task() -> int:
    services = app.screening_services()
    return purge.purge_expired(services.sessions, services.blobs)


@shared_task(name=ANSWER_KEY_REQUEST, soft_time_limit=10, time_limit=15)
def answer_key_request_task(request_id: str) -> None:
    app.keeper().answer(request_id)


@shared_task(name=SETTLE_PATIENT, soft_time_limit=30, time_limit=45)
def settle_patient_task(patient_id: str) -> int:
    return app.keeper().settle(patient_id)
