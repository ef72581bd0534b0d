"""A broker without memory is one that is away for a moment, whatever its address looks like."""

import pytest
from kombu import Connection
from redis.exceptions import OutOfMemoryError

from worker.broker_transport import Transport


@pytest.mark.parametrize("url", ["redis://:p@broker:6379/0", "rediss://:p@broker:6379/0"])
def test_a_broker_without_memory_is_tried_again(url: str) -> None:
    transport = Connection(url, transport="worker.broker_transport:Transport").transport

    assert isinstance(transport, Transport)
    assert OutOfMemoryError in transport.connection_errors
