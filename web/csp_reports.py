"""Where browsers tell that a page broke the content policy: only counts are kept.

A report carries the addresses of the page and of what was refused, so nothing of it is stored or
logged but the name of the rule. Sources: https://www.w3.org/TR/CSP3/#reporting and
https://www.w3.org/TR/reporting-1/
"""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, request
from prometheus_client import Counter

from web.permission import public
from web.rate_limits import REPORTS_PER_ADDRESS, limited
from web.security_headers import REPORT_PATH

LONGEST_REPORT = 64 * 1024
MOST_REPORTS = 50  # a browser sends several in one message
_TYPES = frozenset({"application/csp-report", "application/reports+json"})
_RULES = frozenset(
    {
        *("base-uri", "connect-src", "default-src", "font-src", "form-action", "frame-ancestors"),
        *("frame-src", "img-src", "manifest-src", "media-src", "object-src", "script-src"),
        *("script-src-attr", "script-src-elem", "style-src", "style-src-attr", "style-src-elem"),
        "worker-src",
    }
)

BROKEN = Counter(
    "dermqueue_csp_reports_total",
    "Broken rules of the content policy, as browsers report them.",
    ("rule",),
)

csp_reports = Blueprint("csp_reports", __name__)


@csp_reports.post(REPORT_PATH)
@public
@limited(REPORTS_PER_ADDRESS)
def receive() -> Response:
    if request.mimetype not in _TYPES:
        abort(415, "Only reports of a browser are taken here.")
    if request.content_length is None or request.content_length > LONGEST_REPORT:
        abort(413, "This is longer than any report of a browser.")
    for rule in _broken_rules(request.get_json(force=True)):
        BROKEN.labels(rule).inc()
    return Response(status=204)


def _broken_rules(sent: Any) -> Iterator[str]:
    """The names of the rules; what is no report has none, and an unknown name is "other"."""
    old_form = sent.get("csp-report") if isinstance(sent, dict) else None
    bodies = [old_form] if isinstance(sent, dict) else _bodies(sent)
    for body in bodies:
        if not isinstance(body, dict):
            continue
        name = body.get("effectiveDirective") or body.get("effective-directive")
        old_name = str(body.get("violated-directive", "")).partition(" ")[0]
        rule = str(name or old_name)
        yield rule if rule in _RULES else "other"


def _bodies(sent: Any) -> list[Any]:
    """The bodies of a message of the Reporting API."""
    reports = sent[:MOST_REPORTS] if isinstance(sent, list) else []
    return [
        one.get("body")
        for one in reports
        if isinstance(one, dict) and one.get("type") == "csp-violation"
    ]
