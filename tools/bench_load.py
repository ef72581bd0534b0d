"""A load of prepared requests: so many connections at once, each sending its list once.

It runs on the machine that it loads. So the messages are made beforehand, a connection is a thread
that mostly waits in the kernel, and nothing of an answer is read but its status and length.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Final

from tools.bench_result import percentile

HOST: Final = "127.0.0.1"
TIMEOUT_SECONDS: Final = 60.0


class UnexpectedAnswerError(Exception):
    """A server answered with another status than the load counts on."""


@dataclass(frozen=True)
class Message:
    method: str
    path: str
    expected: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Load:
    """What one load measured: the seconds of every request, and of the whole."""

    seconds: tuple[float, ...]
    whole: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.whole

    def milliseconds(self, share: float) -> float:
        return round(1000 * percentile(self.seconds, share), 1)


def send_at_once(port: int, lists: Sequence[Sequence[Message]]) -> Load:
    """Send each list over a connection of its own, all of them at once.

    Raises:
        UnexpectedAnswerError: an answer has not the status that was expected.

    """
    with ThreadPoolExecutor(len(lists)) as pool:
        start = time.perf_counter()
        found = list(pool.map(lambda messages: _send(port, messages), lists))
        whole = time.perf_counter() - start
    return Load(tuple(seconds for one in found for seconds in one), whole)


def _send(port: int, messages: Sequence[Message]) -> list[float]:
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        return [_seconds(connection, message) for message in messages]
    finally:
        connection.close()


def _seconds(connection: HTTPConnection, message: Message) -> float:
    start = time.perf_counter()
    connection.request(message.method, message.path, message.body or None, dict(message.headers))
    answer = connection.getresponse()
    said = answer.read()
    seconds = time.perf_counter() - start
    if answer.status != message.expected:
        words = said[:300].decode(errors="replace")
        raise UnexpectedAnswerError(f"{message.path} answered {answer.status}: {words}")
    return seconds
