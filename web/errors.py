"""Error pages: what happened and what to do now, in plain words, for people and for scripts."""

from dataclasses import dataclass

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask_limiter import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException, default_exceptions

from clinic.records.blobs import BlobStoreAwayError, MissingBlobError, StorageFullError
from clinic.records.keeper_client import KeeperRefusedError, KeeperUnavailableError
from clinic.records.keys import NoEpochKeyError
from clinic.records.sealed_objects import AlteredObjectError
from web.database import db
from web.fhir_answers import http_refusal
from web.guard import wants_json

RETRY_SECONDS = {429: "60", 503: "20"}
UNAVAILABLE = (
    KeeperUnavailableError,
    NoEpochKeyError,
    OperationalError,
    MissingBlobError,
    BlobStoreAwayError,
    AlteredObjectError,
)


@dataclass(frozen=True)
class Words:
    title: str
    what_to_do: str


WORDS = {
    400: Words(
        "Something was missing",
        "The page may have been open for too long. Go back, load it again and try once more.",
    ),
    401: Words("Please sign in", "Your session has ended. Sign in and try again."),
    403: Words(
        "This is not open to you",
        "Your account has no right to see this page. If you think it should, call us.",
    ),
    404: Words(
        "We cannot find this page", "Check the address, or start again from the first page."
    ),
    405: Words("That did not work", "Please go back and use the buttons on the page."),
    409: Words(
        "Someone was faster",
        "This case has changed since you opened it. Load it again to see how it is now. "
        "Nothing was overwritten.",
    ),
    410: Words(
        "This record was erased",
        "This record was erased, with all photos and texts. Nothing of it can be shown.",
    ),
    413: Words(
        "The photos are too big",
        "Send fewer or smaller photos, or take them again with a lower quality setting. "
        "Nothing was sent.",
    ),
    415: Words(
        "We cannot use this kind of file", "Send a photo as JPEG, PNG or WebP. Nothing was sent."
    ),
    422: Words(
        "We could not read what was sent",
        "Go back and check your answers and photos. Then try again.",
    ),
    429: Words("Too many tries", "Wait one minute. Then try again."),
    500: Words(
        "Something went wrong here",
        "It is our fault, not yours. What you sent before is safe. "
        "Please try again in a few minutes.",
    ),
    503: Words(
        "A part of the service is resting",
        "What you sent before is safe. Please try again in a minute.",
    ),
    507: Words("We cannot store photos at the moment", "Nothing was sent. Please try again later."),
}


def init_error_pages(app: Flask) -> None:
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(CSRFError, _from_csrf)
    app.register_error_handler(RateLimitExceeded, _too_many_tries)
    app.register_error_handler(StorageFullError, lambda _: error_page(507))
    for kind in UNAVAILABLE:
        app.register_error_handler(kind, _unavailable)
    app.register_error_handler(KeeperRefusedError, lambda _: error_page(403))


def error_page(code: int, message: str | None = None) -> Response:
    words = WORDS.get(code, WORDS[500] if code >= 500 else WORDS[400])
    text = message or words.what_to_do
    if wants_json():
        response = jsonify(error=text, errors=[{"field": "", "message": text}])
    else:
        response = make_response(
            render_template("error.html", code=code, title=words.title, detail=text)
        )
    response.status_code = code
    if code in RETRY_SECONDS:
        response.headers["Retry-After"] = RETRY_SECONDS[code]
    return response


def _from_http(error: HTTPException) -> Response | HTTPException:
    code = error.code or 500
    if code < 400:
        return error
    if request.path.startswith("/fhir/"):  # what the API's own routes never saw
        return http_refusal(error)
    return error_page(code, _own_words(error))


def _own_words(error: HTTPException) -> str | None:
    """What a view said with `abort`; the words of a library are for its programmers."""
    standard = default_exceptions.get(error.code or 500)
    if standard is None or type(error) is not standard:
        return None
    return error.description if error.description != standard.description else None


def _too_many_tries(error: RateLimitExceeded) -> Response:
    """How long to wait depends on the limit that was reached: of a minute, or of an hour."""
    seconds = error.limit.limit.get_expiry()
    response = error_page(429, "Wait one hour. Then try again." if seconds > 60 else None)
    response.headers["Retry-After"] = str(seconds)
    return response


def _from_csrf(_: CSRFError) -> Response:
    return error_page(400, "The page was open for too long. Load it again and send it once more.")


def _unavailable(fault: Exception) -> Response:
    g.fault = type(fault).__name__
    db.session.rollback()
    return error_page(503)
