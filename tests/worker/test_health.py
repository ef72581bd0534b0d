"""What a program's health check and the keeper's watchdog ask the broker, on a real one."""

from collections.abc import Iterator

import pytest
import redis

from tools.ports import free_port
from worker.programs.health import broker_answers, broker_takes_hints

pytestmark = pytest.mark.broker


@pytest.fixture
def full_broker(broker_url: str) -> Iterator[str]:
    """No memory is left: it answers, and refuses every write."""
    with redis.Redis.from_url(broker_url) as connection:
        before = connection.config_get("maxmemory")["maxmemory"]
        connection.config_set("maxmemory", "1")
        yield broker_url
        connection.config_set("maxmemory", before)


def test_a_broker_with_room_answers_and_takes_hints(broker_url: str) -> None:
    assert broker_answers(broker_url)
    assert broker_takes_hints(broker_url, "keys")


def test_a_full_broker_answers_and_takes_no_hint(full_broker: str) -> None:
    assert broker_answers(full_broker)
    assert not broker_takes_hints(full_broker, "keys")


def test_a_broker_that_is_away_does_neither() -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    assert not broker_answers(away)
    assert not broker_takes_hints(away, "keys")
