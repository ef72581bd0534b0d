"""The keeper's Celery tasks: each takes one id and calls one use case."""

from celery import shared_task

from clinic.hints import ANSWER_KEY_REQUEST, SETTLE_PATIENT
from worker.programs.keeper import keeper, keeper_watchdog


@shared_task(name=ANSWER_KEY_REQUEST, soft_time_limit=10, time_limit=15)
def answer_key_request_task(request_id: str) -> None:
    keeper().answer(request_id)
    keeper_watchdog().note_answer()


@shared_task(name=SETTLE_PATIENT, soft_time_limit=30, time_limit=45)
def settle_patient_task(patient_id: str) -> int:
    moved = keeper().settle(patient_id)
    keeper_watchdog().note_answer()
    return moved
