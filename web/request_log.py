"""One line and one measurement for each request: route, status and seconds, never an address.

The id of a request is the proxy's (X-Request-ID) where one stands in front, else a new one; it goes
back with the answer.
"""

import logging
import re
import secrets
import time
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import Counter, Histogram

from clinic.json_log import EXTRA, begin_request, request_id, set_case

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[0-9a-f]{32}\Z")
_CASE_ARGUMENTS = ("case_id", "submission_id")

logger = logging.getLogger(__name__)

REQUESTS = Counter(
    "dermqueue_http_requests_total",
    "Requests by route and status.",
    ("route", "method", "status"),
)
SECONDS = Histogram(
    "dermqueue_http_request_seconds",
    "Seconds from request to answer, by part of the portal.",
    ("part",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


def init_request_log(app: Flask, *, behind_proxy: bool) -> None:
    """Register before everything else, so that a refused request is counted too."""

    @app.before_request
    def _begin() -> None:
        g.began_at = time.perf_counter()
        claimed = request.headers.get(HEADER, "")
        trusted = behind_proxy and _WELL_FORMED.match(claimed)
        begin_request(claimed if trusted else secrets.token_hex(16))
        for name in _CASE_ARGUMENTS:
            if name in (request.view_args or {}):
                set_case(str((request.view_args or {})[name]))

    @app.after_request
    def _end(response: Response) -> Response:
        response.headers[HEADER] = request_id() or ""
        seconds = time.perf_counter() - g.get("began_at", time.perf_counter())
        route, status = request.endpoint or "unknown", str(response.status_code)
        REQUESTS.labels(route, _method(), status).inc()
        SECONDS.labels(_part(route)).observe(seconds)
        logger.info(
            "request",
            extra={
                EXTRA: {
                    "route": route,
                    "method": _method(),
                    "status": response.status_code,
                    "seconds": round(seconds, 4),
                    "fault": g.get("fault"),
                }
            },
        )
        return response

    # Flask's own would log the address, which may hold a one-time token.
    app.log_exception = _log_exception  # type: ignore[method-assign]


def _log_exception(exc_info: Any) -> None:
    logger.error("a view failed", exc_info=exc_info)


def _method() -> str:
    """A method that nobody knows is no label."""
    known = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
    return request.method if request.method in known else "other"


def _part(route: str) -> str:
    """The part of the portal, and whether it was read from or written to."""
    part = route.partition(".")[0]
    return f"{part} write" if part == "portal" and request.method == "POST" else part
