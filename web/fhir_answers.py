"""The answers of the FHIR API: resources, pages, and an OperationOutcome for every refusal."""

import json
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

from clinic.fhir_elements import Resource

FHIR_JSON = "application/fhir+json"
_ISSUES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    410: "deleted",
    413: "too-long",
    415: "not-supported",
    429: "throttled",
    503: "transient",
}


class FhirError(Exception):
    """A refusal that is answered with an OperationOutcome."""

    def __init__(
        self, status: int, message: str, *, expression: str | None = None, challenge: str = ""
    ) -> None:
        self.status = status
        self.message = message
        self.expression = expression
        self.challenge = challenge
        super().__init__(message)


def http_refusal(error: HTTPException) -> Response:
    """Answer Werkzeug's own refusals and, after Flask has logged it, a failure of ours."""
    status = error.code or 500
    message = error.description if status < 500 else None
    return outcome(status, message or "The server failed; nothing was sent.")


def outcome(status: int, message: str, *, expression: str | None = None) -> Response:
    issue: dict[str, Any] = {
        "severity": "error",
        "code": _ISSUES.get(status, "exception" if status >= 500 else "processing"),
        "diagnostics": message,
    }
    if expression is not None:
        issue["expression"] = [expression]
    return json_answer({"resourceType": "OperationOutcome", "issue": [issue]}, status=status)


def json_answer(resource: Resource, *, status: int = 200) -> Response:
    response = Response(json.dumps(resource, ensure_ascii=False), status=status)
    response.headers["Content-Type"] = f"{FHIR_JSON}; charset=utf-8"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def page_answer(page: bytes) -> Response:
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
