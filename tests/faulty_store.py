"""A wire to an object store that fails as planned: a proxy that passes on what it spoils not."""

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = Callable[["_Wire"], None]


@dataclass
class FaultyWire:
    """Each fault of `plan` spoils one request, in order; the rest goes through."""

    endpoint: str
    plan: deque[Fault] = field(default_factory=deque)
    methods: list[str] = field(default_factory=list)


def refused(status: int, code: str) -> Fault:
    """The store answers with an error of its own."""

    def fault(wire: "_Wire") -> None:
        wire.body()
        body = f"<Error><Code>{code}</Code><Message>not now</Message></Error>".encode()
        wire.answer(status, {"Content-Type": "application/xml"}, body)

    return fault


def lost_answer(wire: "_Wire") -> None:
    """The store does what it was asked, and the connection ends before it can say so."""
    wire.forwarded()
    wire.close_connection = True


def half_a_body(wire: "_Wire") -> None:
    """The connection ends in the middle of the body."""
    status, headers, body = wire.forwarded()
    wire.answer(status, headers, body, sent=len(body) // 2)
    wire.close_connection = True


def slow(seconds: float) -> Fault:
    """The answer comes so late."""

    def fault(wire: "_Wire") -> None:
        found = wire.forwarded()
        time.sleep(seconds)
        wire.answer(*found)

    return fault


@contextmanager
def faulty_wire(endpoint: str) -> Iterator[FaultyWire]:
    """A wire to `endpoint` on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Wire)
    server.daemon_threads = True
    server.store = urlsplit(endpoint).netloc
    server.faulty = FaultyWire(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.faulty
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Wire(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client had waited long enough
            self.close_connection = True

    def pass_on(self) -> None:
        faulty: FaultyWire = self.server.faulty
        faulty.methods.append(self.command)
        if faulty.plan:
            faulty.plan.popleft()(self)
        else:
            self.answer(*self.forwarded())

    do_GET = do_PUT = do_DELETE = pass_on  # noqa: N815 - the names that the library calls

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def forwarded(self) -> tuple[int, dict[str, str], bytes]:
        """The store's answer; the Host header stays the client's, which its signature covers."""
        store = http.client.HTTPConnection(self.server.store, timeout=20)
        headers = {**dict(self.headers), "Connection": "close"}
        headers.pop("Expect", None)
        store.request(self.command, self.path, self.body(), headers)
        answer = store.getresponse()
        found = answer.status, dict(answer.headers), answer.read()
        store.close()
        return found

    def answer(
        self, status: int, headers: dict[str, str], body: bytes, *, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *_: object) -> None:
        """Tests say what they see themselves."""
