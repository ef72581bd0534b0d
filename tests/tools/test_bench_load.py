"""The load sends what it was given, once, and notices every answer that it does not expect."""

import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server

from tools.bench_load import Load, Message, UnexpectedAnswerError, send_at_once
from tools.bench_nothing import app
from tools.bench_result import percentile


@pytest.fixture
def port() -> Iterator[int]:
    """The view that does nothing, over a real socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_message_of_every_list_is_sent_and_timed(port: int) -> None:
    lists = [[Message("POST", "/nothing", 202, {}, b"x" * 100_000)] * 2 for _ in range(5)]
    found = send_at_once(port, lists)
    assert len(found.seconds) == 10
    assert 0 < min(found.seconds) <= max(found.seconds) <= found.whole


def test_an_unexpected_answer_ends_the_load(port: int) -> None:
    with pytest.raises(UnexpectedAnswerError, match="/elsewhere answered 404"):
        send_at_once(port, [[Message("GET", "/elsewhere", 200)]])


def test_the_rate_is_of_the_whole_load_and_percentiles_of_single_requests() -> None:
    load = Load(tuple(n / 1000 for n in range(1, 101)), 2.0)
    assert load.rate == 50
    assert [load.milliseconds(share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile(list(range(1, 21)), 0.95) == 19
