"""A small web site on 127.0.0.1 for the sealing scripts, with the portal's strict policy.

`site.answer(method, path, reply)` adds what a test needs: `reply(request) -> Reply`.
"""

import mimetypes
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "web" / "portal" / "static"
PAGES = HERE / "sealing_pages"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'"
)
CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Generous, because a loaded machine is slow and not wrong.
expect.set_options(timeout=30_000)


@dataclass(frozen=True, kw_only=True)
class Request:
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    type: str = "application/json"
    body: bytes = b"{}"
    policy: str = POLICY
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Site:
    url: str
    replies: dict[tuple[str, str], Callable[[Request], Reply]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, reply: Callable[[Request], Reply]) -> None:
        self.replies[method, path] = reply

    def count(self, method: str, path: str) -> int:
        return self.requests.count((method, path))


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def _respond(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.site.requests.append((method, path))
        reply = self.site.replies.get((method, path), lambda _: _file(path))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(reply(Request(headers=headers, body=body)))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Content-Security-Policy", reply.policy)
        self.send_header("Cache-Control", "no-store")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_args: Any) -> None:
        """Keep the test's output quiet."""


def _file(path: str) -> Reply:
    if path == "/favicon.ico":
        return Reply(type="image/x-icon", body=b"")
    root = STATIC if path.startswith("/static/") else PAGES
    file = root / path.removeprefix("/static/").lstrip("/")
    if not file.is_file():
        return Reply(status=404, type="text/plain", body=b"nothing here")
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return Reply(type=kind, body=file.read_bytes())


@contextmanager
def running_site() -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    site = Site(url=f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"site": site})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS
        )
        yield browser
        browser.close()
