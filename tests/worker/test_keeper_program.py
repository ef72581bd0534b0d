"""The keeper's Celery app: how it takes messages from the broker."""

import pytest
from kombu import Message

from clinic.hints import ANSWER_KEY_REQUEST, KEYS_QUEUE, CeleryHints
from clinic.sealed_part import new_identity
from config import KEEPER, Settings, SettingsError
from tests.worker.test_programs import environment as environment  # noqa: PLC0414 - a fixture
from worker.programs import keeper as program
from worker.programs.keeper import keeper_app


@pytest.mark.broker
def test_a_message_once_taken_needs_no_receipt_of_the_broker(
    environment: dict[str, str], broker_url: str
) -> None:
    settings = Settings.from_env(KEEPER, {**environment, "DERMQUEUE_BROKER_URL": broker_url})
    CeleryHints(broker_url).send(ANSWER_KEY_REQUEST, "a" * 32)
    taken: list[Message] = []
    with keeper_app(settings).connection_for_read() as connection:
        queues = list(keeper_app(settings).amqp.queues.values())
        with connection.Consumer(
            queues, callbacks=[lambda _, message: taken.append(message)], accept=["json"]
        ) as consumer:
            connection.drain_events(timeout=10)
            under_way = list(consumer.channel.qos._delivered)

    assert [one.delivery_info["routing_key"] for one in taken] == [KEYS_QUEUE]
    assert under_way == []


def test_the_keeper_refuses_to_start_without_two_usable_emergency_keys(
    environment: dict[str, str],
) -> None:
    (_, first), (_, second) = new_identity(), new_identity()

    def escrow(recipients: str) -> object:
        changed = {**environment, "DERMQUEUE_ESCROW_RECIPIENTS": recipients}
        return program._escrow(Settings.from_env(KEEPER, changed))

    assert escrow(f"{first},{second}") is not None
    assert escrow("") is None
    for unusable in (f"{first},{first}", f"{first},age1nonsense"):
        with pytest.raises(SettingsError, match="DERMQUEUE_ESCROW_RECIPIENTS cannot be used"):
            escrow(unusable)
