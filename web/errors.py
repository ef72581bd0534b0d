"""Error pages: what happened and what to do now, in plain words, for people and for scripts."""

from dataclasses import dataclass

from flask import Flask, Response, jsonify, make_response, render_template
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from clinic.records.blobs import MissingBlobError, StorageFullError
from clinic.records.keeper_client import KeeperRefusedError, KeeperUnavailableError
from clinic.records.keys import NoEpochKeyError
from web.database import db
from web.guard import wants_json

RETRY_SECONDS = "20"


@dataclass(frozen=True)
class Words:
    title: str
    what_to_do: str


_WORDS = {
    400: Words("That did not work", "Please go back, load the page again and try once more."),
    401: Words("Please sign in", "Your session has ended. Sign in and try again."),
    403: Words("You cannot open this page", "It belongs to somebody else, or needs another role."),
    404: Words("Page not found", "Check the address, or start again from the home page."),
    405: Words("That did not work", "Please go back and use the buttons on the page."),
    409: Words("Somebody was faster", "This case has changed. Go back to the list and look again."),
    413: Words(
        "The photos are too large",
        "Send fewer or smaller photos. Nothing you typed on your device is lost: go back.",
    ),
    415: Words("This file cannot be used", "Send a photo as JPEG, PNG or WebP."),
    422: Words("Something needs to be changed", "Go back, check the answers and try again."),
    429: Words("Too many tries", "Please wait one minute and try again."),
    500: Words("Something went wrong on our side", "We have been told. Please try again later."),
    503: Words(
        "This part is not available at the moment",
        "Nothing is lost. Please try again in a minute.",
    ),
    507: Words("We cannot store photos at the moment", "Nothing was sent. Please try again later."),
}


def init_error_pages(app: Flask) -> None:
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(CSRFError, _from_csrf)
    app.register_error_handler(StorageFullError, lambda _: error_page(507))
    for kind in (KeeperUnavailableError, NoEpochKeyError, OperationalError, MissingBlobError):
        app.register_error_handler(kind, _unavailable)
    app.register_error_handler(KeeperRefusedError, lambda _: error_page(403))


def error_page(code: int, message: str | None = None) -> Response:
    words = _WORDS.get(code, _WORDS[500] if code >= 500 else _WORDS[400])
    text = message or words.what_to_do
    if wants_json():
        response = jsonify(error=text, errors=[{"field": "", "message": text}])
    else:
        response = make_response(
            render_template("error.html", code=code, title=words.title, what_to_do=text)
        )
    response.status_code = code
    if code == 503:
        response.headers["Retry-After"] = RETRY_SECONDS
    return response


def _from_http(error: HTTPException) -> Response | HTTPException:
    code = error.code or 500
    if code < 400:
        return error
    standard = type(error)()
    own = error.description if error.description != standard.description else None
    return error_page(code, own)


def _from_csrf(_: CSRFError) -> Response:
    return error_page(400, "The page was open for too long. Load it again and send it once more.")


def _unavailable(_: Exception) -> Response:
    db.session.rollback()
    return error_page(503)
