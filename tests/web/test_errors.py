"""Every refusal and every failure in words, for people and for scripts, and nothing more."""

from collections.abc import Callable

import pytest
from flask import Flask, abort
from sqlalchemy.exc import OperationalError

from clinic.reading_grade import LIMIT, reading_grade
from clinic.records.blobs import BlobStoreAwayError, MissingBlobError, StorageFullError
from clinic.records.keeper_client import KeeperRefusedError, KeeperUnavailableError
from clinic.records.keys import NoEpochKeyError
from clinic.records.sealed_objects import AlteredObjectError
from tests.browser_session import BrowserSession
from tests.portal_tools import JSON, words
from web.errors import WORDS
from web.permission import public

SignedIn = Callable[[str], BrowserSession]
SECRET = "a-path-or-a-secret"


@pytest.fixture
def failing(app: Flask) -> Flask:
    """The portal with routes that end in each status and in each kind of failure."""

    @public
    def status(code: int) -> str:
        abort(code)

    @public
    def status_with_words(code: int) -> str:
        abort(code, "These are the view's own words.")

    @public
    def failure(name: str) -> str:
        raise FAILURES[name][0]

    app.add_url_rule("/test/<int:code>", view_func=status)
    app.add_url_rule("/test/words/<int:code>", view_func=status_with_words)
    app.add_url_rule("/test/failure/<name>", view_func=failure)
    return app


@pytest.mark.parametrize("code", [code for code in WORDS if code != 507])  # see "full disk"
def test_each_status_has_its_page(failing: Flask, code: int) -> None:
    client = failing.test_client()

    page, script = client.get(f"/test/{code}"), client.get(f"/test/{code}", headers=JSON)

    assert page.status_code == script.status_code == code
    assert WORDS[code].title in words(page.text)
    assert WORDS[code].what_to_do in words(page.text)
    assert script.json == {
        "error": WORDS[code].what_to_do,
        "errors": [{"field": "", "message": WORDS[code].what_to_do}],
    }
    assert ("Retry-After" in page.headers) == (code in {429, 503})


@pytest.mark.parametrize("code", [400, 403, 404, 409, 503])
def test_the_views_own_words_take_the_place_of_the_standard_ones(failing: Flask, code: int) -> None:
    client = failing.test_client()

    assert "These are the view&#39;s own words." in client.get(f"/test/words/{code}").text
    assert client.get(f"/test/words/{code}", headers=JSON).json["error"] == (
        "These are the view's own words."
    )


@pytest.mark.parametrize(("code", "like"), [(418, 400), (411, 400), (501, 500), (502, 500)])
def test_a_rare_status_is_answered_like_its_kind(failing: Flask, code: int, like: int) -> None:
    answer = failing.test_client().get(f"/test/{code}")

    assert answer.status_code == code
    assert WORDS[like].title in answer.text


FAILURES: dict[str, tuple[Exception, int]] = {
    "unknown": (RuntimeError(SECRET), 500),
    "key": (KeyError(SECRET), 500),
    "keeper down": (KeeperUnavailableError(SECRET), 503),
    "keeper refused": (KeeperRefusedError(SECRET), 403),
    "no clinic key": (NoEpochKeyError(SECRET), 503),
    "database": (OperationalError(SECRET, {}, Exception(SECRET)), 503),
    "lost body": (MissingBlobError(SECRET), 503),
    "altered body": (AlteredObjectError(SECRET), 503),
    "object store away": (BlobStoreAwayError(SECRET), 503),
    "full disk": (StorageFullError(SECRET), 507),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("headers", [{}, JSON])
def test_a_failure_tells_nothing_about_the_inside(
    failing: Flask, name: str, headers: dict[str, str]
) -> None:
    answer = failing.test_client().get(f"/test/failure/{name}", headers=headers)

    assert answer.status_code == FAILURES[name][1]
    for inside in (SECRET, "Traceback", "Error", ".py", "sqlalche"):
        assert inside not in answer.text
    assert answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_error_page_keeps_the_frame_of_the_signed_in_person(signed_in: SignedIn) -> None:
    assert "Sign out" in signed_in("alice").get("/no/such/page").text


def test_an_address_that_does_not_exist_and_a_wrong_method(app: Flask) -> None:
    client = app.test_client()

    assert client.get("/no/such/page").status_code == 404
    assert client.get("/sign-out").status_code == 405
    assert client.get("/no/such/page", headers=JSON).json["error"] == WORDS[404].what_to_do


def test_below_the_fhir_api_also_what_no_route_of_it_saw_is_an_outcome(app: Flask) -> None:
    answer = app.test_client().get("/fhir/R4//%00")

    assert (answer.status_code, answer.mimetype) == (400, "application/fhir+json")
    assert answer.json["resourceType"] == "OperationOutcome"


def test_the_words_are_plain() -> None:
    text = " ".join(f"{one.title}. {one.what_to_do}" for one in WORDS.values())

    assert reading_grade(text) <= LIMIT
