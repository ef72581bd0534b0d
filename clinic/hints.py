"""Hints: Celery messages that carry a task's name and one opaque id, nothing else.

A hint may be lost, doubled or late; the rows in the database are the truth.
"""

from typing import Any, Protocol

from celery import Celery
from kombu.exceptions import OperationalError

INFERENCE_QUEUE = "inference"
KEYS_QUEUE = "keys"

SCREEN_SUBMISSION = "worker.tasks.screen_submission_task"
PURGE_EXPIRED = "worker.tasks.purge_expired_task"
ANSWER_KEY_REQUEST = "worker.keeper_tasks.answer_key_request_task"
SETTLE_PATIENT = "worker.keeper_tasks.settle_patient_task"

QUEUE_OF = {
    SCREEN_SUBMISSION: INFERENCE_QUEUE,
    PURGE_EXPIRED: INFERENCE_QUEUE,
    ANSWER_KEY_REQUEST: KEYS_QUEUE,
    SETTLE_PATIENT: KEYS_QUEUE,
}

HINT_LIFE_SECONDS = 60

BROKER_SETTINGS: dict[str, Any] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_ignore_result": True,
    "task_publish_retry": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_transport_options": {
        "socket_timeout": 3,
        "socket_connect_timeout": 1,
        "health_check_interval": 5,
        "max_retries": 0,
    },
}


class BrokerDownError(Exception):
    """The hint could not be sent now."""


class Hints(Protocol):
    def send(self, task: str, *ids: str) -> None:
        """Send a hint.

        Raises:
            BrokerDownError: the broker did not take it.

        """


class CeleryHints:
    """Sends hints through the broker. Sending never blocks longer than the socket time-outs."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("dermqueue-hints", broker=broker_url, set_as_current=False)
        self._app.conf.update(BROKER_SETTINGS)

    def send(self, task: str, *ids: str) -> None:
        try:
            self._app.send_task(
                task, args=ids, queue=QUEUE_OF[task], expires=HINT_LIFE_SECONDS, retry=False
            )
        except (OperationalError, OSError) as error:
            raise BrokerDownError(f"The broker did not take the hint: {error}") from error
