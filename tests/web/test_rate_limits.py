"""How often a person may try: by account and by address, and also without the broker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from tests.browser_session import BrowserSession
from tests.portal_tools import JSON, another_app, send, token_of, words
from tests.world import PASSWORD, World
from tools.ports import free_port
from web.database import db
from web.rate_limits import limiter

SignedIn = Callable[[str], BrowserSession]


def try_to_sign_in(client: FlaskClient, token: str, email: str, password: str = "wrong") -> int:
    form = {"email": email, "password": password, "csrf_token": token}
    return client.post("/sign-in", data=form).status_code


def test_the_eleventh_try_on_one_account_must_wait_while_another_is_served(
    app: Flask, client: FlaskClient
) -> None:
    token = token_of(client)

    codes = [try_to_sign_in(client, token, "alice@example.org") for _ in range(11)]

    assert codes == [422] * 10 + [429]
    assert try_to_sign_in(client, token, " Alice@Example.org", PASSWORD) == 429
    other = app.test_client()
    assert try_to_sign_in(other, token_of(other), "carol@example.org", PASSWORD) == 302


def test_the_answer_says_in_words_to_wait(client: FlaskClient) -> None:
    token = token_of(client)
    for _ in range(10):
        try_to_sign_in(client, token, "alice@example.org")
    form = {"email": "alice@example.org", "password": "x", "csrf_token": token}

    as_page, as_json = (client.post("/sign-in", data=form, headers=one) for one in ({}, JSON))

    assert as_page.status_code == as_json.status_code == 429
    assert "Wait one minute. Then try again." in words(as_page.text)
    assert as_json.json["error"] == "Wait one minute. Then try again."
    assert 0 < int(as_page.headers["Retry-After"]) <= 60
    assert "per 1 minute" not in as_page.text


def test_one_address_cannot_try_many_accounts(client: FlaskClient) -> None:
    token = token_of(client)

    codes = [try_to_sign_in(client, token, f"person{n}@example.org") for n in range(31)]

    assert codes == [422] * 30 + [429]


def test_looking_at_the_page_is_not_counted(client: FlaskClient) -> None:
    assert {client.get("/sign-in").status_code for _ in range(40)} == {200}


PROOFS = [
    ("/second-factor", {"code": "000000"}),
    ("/second-factor", {"credential": "{}"}),
    ("/second-factor/recovery", {"code": "AAAA-AAAA"}),
    ("/second-factor/new", {"code": "000000"}),
    ("/step-up", {"code": "000000"}),
    ("/account/password", {"old": "wrong", "password": "velvet otter cargo"}),
]


@pytest.mark.parametrize(("path", "form"), PROOFS)
def test_proofs_cannot_be_guessed_quickly(
    app: Flask, signed_in: SignedIn, path: str, form: dict[str, str]
) -> None:
    bob, dan = signed_in("bob"), signed_in("dan")
    data = {**form, "csrf_token": bob.csrf_token()}

    codes = [bob.client.post(path, data=data).status_code for _ in range(11)]

    assert codes == [422] * 10 + [429]
    elsewhere = app.test_client()
    elsewhere.set_cookie("dermqueue", bob.client.get_cookie("dermqueue").value)
    from_afar = {"REMOTE_ADDR": "203.0.113.9"}
    assert elsewhere.post(path, data=data, environ_base=from_afar).status_code == 429
    assert dan.post(path, form).status_code == 422, "another person is served"


def test_requests_that_are_refused_for_something_else_count_too(client: FlaskClient) -> None:
    without_token = {"email": "alice@example.org", "password": "wrong"}
    from_elsewhere = {"Sec-Fetch-Site": "cross-site"}
    token = token_of(client)

    codes = [client.post("/sign-in", data=without_token).status_code for _ in range(5)]
    codes += [
        client.post(
            "/sign-in", data={**without_token, "csrf_token": token}, headers=from_elsewhere
        ).status_code
        for _ in range(5)
    ]

    assert codes == [400] * 10
    assert try_to_sign_in(client, token, "alice@example.org", PASSWORD) == 429


def test_after_the_minute_the_right_password_is_let_in_again(
    app: Flask, client: FlaskClient
) -> None:
    token = token_of(client)
    for _ in range(11):
        try_to_sign_in(client, token, "alice@example.org")
    with app.app_context():
        limiter.reset()

    assert try_to_sign_in(client, token, "alice@example.org", PASSWORD) == 302


def test_a_limit_of_an_hour_says_so(signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1_800_000_000.0)
    frozen = SimpleNamespace(time=lambda: clock.now)
    monkeypatch.setattr("limits.storage.memory.time", frozen)
    bob = signed_in("bob")
    path, form = "/step-up", {"code": "000000", "csrf_token": bob.csrf_token()}
    for _ in range(6):
        assert {bob.client.post(path, data=form).status_code for _ in range(10)} == {422}
        clock.now += 61

    answer = bob.client.post(path, data=form)

    assert answer.status_code == 429
    assert "Wait one hour. Then try again." in words(answer.text)
    assert answer.headers["Retry-After"] == "3600"


def test_registrations_are_counted_too(client: FlaskClient) -> None:
    codes = [send(client, "/register", {}).status_code for _ in range(31)]

    assert codes == [422] * 30 + [429]


Make = Callable[[str], Flask]


@pytest.fixture
def make(world: World, database_url: str, tmp_path: Path) -> Iterator[Make]:
    """A portal that counts in the broker at this address."""
    made: list[Flask] = []

    def one(broker_url: str) -> Flask:
        made.append(another_app(world, database_url, tmp_path, broker_url=broker_url))
        return made[-1]

    yield one
    # There is one limiter in a process: the next portal's counts must not start in the fallback.
    limiter._storage_dead = False
    for app in made:
        with app.app_context():
            db.engine.dispose()


@pytest.mark.broker
def test_two_web_processes_count_together_and_store_no_address_in_clear(
    make: Make, broker_url: str
) -> None:
    codes = []
    for _ in range(2):
        client = make(broker_url).test_client()
        token = token_of(client)
        codes += [try_to_sign_in(client, token, "alice@example.org") for _ in range(6)]

    assert codes == [422] * 10 + [429] * 2
    with redis.Redis.from_url(broker_url) as connection:
        kept = b" ".join(connection.keys("*"))
    assert kept
    assert b"alice" not in kept


def test_tries_are_counted_also_while_the_broker_is_down(make: Make) -> None:
    client = make(f"redis://127.0.0.1:{free_port()}/0").test_client()
    token = token_of(client)

    codes = [try_to_sign_in(client, token, "alice@example.org") for _ in range(11)]

    assert codes == [422] * 10 + [429]
    other = client.application.test_client()
    assert try_to_sign_in(other, token_of(other), "carol@example.org", PASSWORD) == 302
