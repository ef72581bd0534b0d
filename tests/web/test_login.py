"""Signing in and out: nothing tells who has an account, and nothing works twice."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from clinic.audit_event import AuditAction
from clinic.records import accounts
from clinic.records.db import database_now
from clinic.records.models import Account, LoginSession, SignInLink
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    DECISION,
    another_app,
    both_databases,
    change_row,
    code_at,
    count,
    entries,
    half_signed_in,
    send,
    token_of,
    without_second_factor,
    words,
)
from tests.world import PASSWORD, World
from web.database import db

SignedIn = Callable[[str], BrowserSession]
NOON = 1_800_000_000.0  # the first second of a time step of 30 seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the one-time codes; `clock.now` moves it."""
    clock = SimpleNamespace(now=NOON)
    monkeypatch.setattr("web.second_factor.time", SimpleNamespace(time=lambda: clock.now))
    return clock


def sign_in(
    client: FlaskClient, email: str, password: str = PASSWORD, query: str = ""
) -> TestResponse:
    return send(client, f"/sign-in{query}", {"email": email, "password": password})


def signed_in_as(client: FlaskClient) -> str:
    """What the frame of a page says about who is signed in."""
    return words(client.get("/").text)


def change_login(world: World, name: str, **values: Any) -> None:
    with world.sessions() as session, session.begin():
        (login,) = accounts.logins_of(session, world.people[name].account_id)
        for key, value in values.items():
            setattr(login, key, value)


def ago(world: World, **time: int) -> Any:
    with world.sessions() as session:
        return database_now(session) - timedelta(**time)


@both_databases
def test_a_patient_signs_in_with_address_and_password(world: World, client: FlaskClient) -> None:
    answer = sign_in(client, " ALICE@example.org ")

    assert (answer.status_code, answer.location) == (302, "/cases")
    assert client.get("/cases").status_code == 200
    assert [one.actor for one in entries(world, AuditAction.SIGNED_IN)] == [world.alice.account_id]


def without_changing_parts(page: str) -> str:
    for pattern in (r'name="csrf_token"[^>]*>', r'nonce="[^"]*"', r'value="[^"]*@example.org"'):
        page = re.sub(pattern, "", page)
    return page


def test_a_wrong_password_and_an_unknown_address_look_the_same_and_cost_the_same(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    verify = PasswordHasher.verify

    def noted(self: PasswordHasher, stored: Any, password: Any) -> Any:
        hashed.append(password)
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", noted)
    attempts = [("alice@example.org", "wrong"), ("nobody@example.org", PASSWORD)]

    wrong, unknown = (sign_in(app.test_client(), *attempt) for attempt in attempts)

    assert wrong.status_code == unknown.status_code == 422
    assert without_changing_parts(wrong.text) == without_changing_parts(unknown.text)
    assert hashed == ["wrong", PASSWORD]
    refused = entries(world, AuditAction.SIGN_IN_REFUSED)
    assert [(one.actor, one.allowed) for one in refused] == [
        (world.alice.account_id, False),
        ("unknown", False),
    ]
    assert "nobody@example.org" not in str([vars(one) for one in refused])


def test_a_disabled_account_is_refused_like_a_wrong_password(
    world: World, client: FlaskClient
) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        account.disabled_at = database_now(session)

    answer = sign_in(client, "alice@example.org")

    assert answer.status_code == 422
    assert "Email address or password is not right." in answer.text


def test_a_form_without_its_token_is_refused(world: World, client: FlaskClient) -> None:
    answer = client.post("/sign-in", data={"email": "alice@example.org", "password": PASSWORD})

    assert answer.status_code == 400
    assert count(world, LoginSession) == 0


def prove(client: FlaskClient, code: str) -> TestResponse:
    return send(client, "/second-factor", {"code": code})


def half_bob(app: Flask) -> FlaskClient:
    client = app.test_client()
    sign_in(client, "bob@example.org")
    return client


def test_a_dermatologist_needs_the_code_after_the_password(
    app: Flask, clock: SimpleNamespace
) -> None:
    client = half_bob(app)
    assert client.get("/review").location == "/second-factor"

    answer = prove(client, code_at(clock.now))

    assert (answer.status_code, answer.location) == (302, "/review")
    assert client.get("/review").status_code == 200


@pytest.mark.parametrize("seconds", [-30, -1, 30, 3600])
def test_a_code_of_another_step_is_refused(
    app: Flask, clock: SimpleNamespace, seconds: int
) -> None:
    client = half_bob(app)

    assert prove(client, code_at(clock.now + seconds)).status_code == 422
    assert client.get("/review").location == "/second-factor"


def test_a_code_works_once_and_the_next_step_works_again(
    app: Flask, clock: SimpleNamespace
) -> None:
    first, thief = half_bob(app), half_bob(app)
    code = code_at(clock.now)
    assert prove(first, code).status_code == 302
    clock.now += 29

    assert prove(thief, code).status_code == 422
    assert thief.get("/review").location == "/second-factor"
    clock.now += 1
    assert prove(thief, code_at(clock.now)).status_code == 302


def test_a_step_before_the_last_used_one_stays_spent_when_the_clock_goes_back(
    app: Flask, clock: SimpleNamespace
) -> None:
    prove(half_bob(app), code_at(clock.now))
    clock.now -= 60

    assert prove(half_bob(app), code_at(clock.now)).status_code == 422


@both_databases
def test_five_browsers_cannot_spend_one_code_together(app: Flask, clock: SimpleNamespace) -> None:
    clients = [half_bob(app) for _ in range(5)]
    tokens = [token_of(client, "/second-factor") for client in clients]
    code = code_at(clock.now)

    def prove_at_once(client: FlaskClient, token: str) -> int:
        data = {"code": code, "csrf_token": token}
        return client.post("/second-factor", data=data).status_code

    with ThreadPoolExecutor(5) as pool:
        codes = sorted(pool.map(prove_at_once, clients, tokens))

    assert codes == [302, 422, 422, 422, 422]


@pytest.mark.parametrize("name", ["bob", "erin"])
def test_staff_without_a_second_factor_reach_only_the_page_that_enrols_one(
    app: Flask, world: World, name: str
) -> None:
    person = world.people[name]
    without_second_factor(world, person)
    client = half_signed_in(app, world, person)

    paths = ["/review", "/operations", "/audit", "/account", "/step-up", "/cases"]
    reached = {path: client.get(path) for path in paths}

    for path, answer in reached.items():
        assert answer.status_code == 403 or answer.location == "/second-factor", path
    assert client.get("/second-factor").location == "/second-factor/new"
    assert client.get("/second-factor/new").status_code == 200


def test_a_second_factor_is_enrolled_with_its_first_code(
    app: Flask, world: World, clock: SimpleNamespace
) -> None:
    without_second_factor(world, world.dan)
    client = half_signed_in(app, world, world.dan)
    page = client.get("/second-factor/new").text
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page).group(1).replace(" ", "")
    assert send(client, "/second-factor/new", {"code": "000000"}).status_code == 422

    answer = send(client, "/second-factor/new", {"code": code_at(clock.now, secret)})

    assert (answer.status_code, answer.text.count("<li><code>")) == (200, 10)
    assert client.get("/review").status_code == 200
    with world.sessions() as session:
        account = session.get_one(Account, world.dan.account_id)
        assert secret.encode() not in account.totp_secret_sealed
    assert len(entries(world, AuditAction.SECOND_FACTOR_ENROLLED)) == 1


def test_an_enrolled_factor_cannot_be_replaced_by_the_password_alone(
    app: Flask, world: World
) -> None:
    client = half_signed_in(app, world, world.bob)

    assert client.get("/second-factor/new").location == "/second-factor"


@pytest.mark.parametrize(("minutes", "signed"), [(14, True), (16, False)])
def test_signing_needs_a_proof_of_identity_of_the_last_fifteen_minutes(
    world: World, signed_in: SignedIn, minutes: int, *, signed: bool
) -> None:
    case = world.first_read(world.alice, world.bob)
    bob = signed_in("bob")
    change_login(world, "bob", stepped_up_at=ago(world, minutes=minutes))

    answer = bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign"})

    target = f"/review/{case}" if signed else f"/step-up?next=/review/{case}/sign"
    assert answer.location == target
    assert bool(entries(world, AuditAction.CASE_SIGNED)) == signed


def test_a_fresh_code_leads_back_to_the_case(
    world: World, signed_in: SignedIn, clock: SimpleNamespace
) -> None:
    case = world.first_read(world.alice, world.bob)
    bob = signed_in("bob")
    change_login(world, "bob", stepped_up_at=ago(world, minutes=16))
    page = f"/step-up?next=/review/{case}"
    assert f'value="/review/{case}"' in bob.get(page).text
    wrong = bob.post(page, {"code": code_at(clock.now - 30)})
    assert wrong.status_code == 422

    answer = bob.post(page, {"code": code_at(clock.now)})

    assert answer.location == f"/review/{case}"
    signing = bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign"})
    assert signing.location == f"/review/{case}"


@both_databases
def test_signing_out_ends_the_session_at_once_also_for_a_stolen_cookie(
    app: Flask, signed_in: SignedIn
) -> None:
    alice = signed_in("alice")
    thief = app.test_client()
    thief.set_cookie("dermqueue", alice.client.get_cookie("dermqueue").value)
    assert thief.get("/cases").status_code == 200

    answer = alice.post("/sign-out")

    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert thief.get("/cases").location == "/sign-in?next=/cases"
    assert thief.get("/cases", headers={"Accept": "application/json"}).status_code == 401
    assert alice.get("/cases").location.startswith("/sign-in")


def test_staff_can_sign_out_before_the_second_factor(app: Flask, world: World) -> None:
    client = half_signed_in(app, world, world.bob)

    answer = send(client, "/sign-out", {}, page="/second-factor")

    assert answer.location == "/"
    assert client.get("/second-factor").location.startswith("/sign-in")


IDLE = [("alice", 29, True), ("alice", 31, False), ("bob", 14, True), ("bob", 16, False)]


@pytest.mark.parametrize(("name", "minutes", "alive"), IDLE)
def test_an_idle_session_ends(
    world: World, signed_in: SignedIn, name: str, minutes: int, *, alive: bool
) -> None:
    browser = signed_in(name)
    change_login(world, name, last_seen_at=ago(world, minutes=minutes))

    assert (browser.get("/account").status_code == 200) == alive


def test_being_used_keeps_a_session_alive_but_not_beyond_its_absolute_end(
    world: World, signed_in: SignedIn
) -> None:
    alice = signed_in("alice")
    with world.sessions() as session:
        (login,) = accounts.logins_of(session, world.alice.account_id)
        assert login.expires_at - login.created_at == timedelta(hours=12)
    change_login(world, "alice", last_seen_at=ago(world, minutes=20))
    assert alice.get("/cases").status_code == 200
    change_login(world, "alice", expires_at=ago(world, seconds=1))

    assert alice.get("/cases").location == "/sign-in?next=/cases"


def test_disabling_an_account_ends_its_sessions(world: World, signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.bob.account_id).disabled_at = database_now(session)

    assert bob.get("/review").location.startswith("/sign-in")


@pytest.fixture
def demo(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = another_app(world, database_url, tmp_path, is_demo=True)
    yield app
    with app.app_context():
        db.engine.dispose()


def link_for(world: World, name: str) -> str:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.people[name].account_id)
        return f"/sign-in-link/{accounts.make_sign_in_link(session, account)}"


def test_a_demo_link_signs_in_by_its_button_and_once_only(demo: Flask, world: World) -> None:
    link, client, late = link_for(world, "bob"), demo.test_client(), demo.test_client()
    for _ in range(2):
        assert "Sign in as the dermatologist" in client.get(link).text
    assert client.get("/review").status_code == 302, "looking at the link does nothing"
    late_token = token_of(late, link)

    answer = send(client, link, {})

    assert (answer.status_code, answer.location) == (302, "/review")
    assert client.get("/review").status_code == 200
    again = late.post(link, data={"csrf_token": late_token})
    assert again.status_code == late.get(link).status_code == 404
    assert "This link was used before or is too old." in again.text
    assert late.get("/review").status_code == 302


def test_a_demo_link_needs_the_forms_token(demo: Flask, world: World) -> None:
    client = demo.test_client()

    assert client.post(link_for(world, "bob")).status_code == 400
    assert client.get("/review").status_code == 302


def test_an_old_demo_link_is_dead(demo: Flask, world: World) -> None:
    link, client = link_for(world, "alice"), demo.test_client()
    token = token_of(client, link)
    with world.sessions() as session, session.begin():
        session.query(SignInLink).one().expires_at = database_now(session) - timedelta(seconds=1)

    assert client.get(link).status_code == 404
    assert client.post(link, data={"csrf_token": token}).status_code == 404


def test_outside_a_demo_installation_there_are_no_links(world: World, client: FlaskClient) -> None:
    link, token = link_for(world, "alice"), token_of(client)

    assert client.get(link).status_code == 404
    assert client.post(link, data={"csrf_token": token}).status_code == 404
    with world.sessions() as session:
        assert session.query(SignInLink).one().used_at is None


OWN = ["/cases/new", "/account", "/my-record/access?x=1"]
FOREIGN = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "/\t/evil.example/",
    "\t//evil.example/",
    "javascript:alert(1)",
    "https:evil.example",
    "evil.example",
    "",
]


@pytest.mark.parametrize("target", OWN)
def test_after_signing_in_one_is_where_one_wanted_to_go(client: FlaskClient, target: str) -> None:
    form = {"email": "alice@example.org", "password": PASSWORD, "next": target}

    assert send(client, "/sign-in", form).location == target


@pytest.mark.parametrize("target", FOREIGN)
def test_after_signing_in_nobody_is_sent_to_another_site(
    app: Flask, client: FlaskClient, target: str
) -> None:
    form = {"email": "alice@example.org", "password": PASSWORD}

    assert send(client, "/sign-in", {**form, "next": target}).location == "/cases"
    other = app.test_client()
    token = token_of(other)
    by_query = other.post(
        "/sign-in", query_string={"next": target}, data={**form, "csrf_token": token}
    )
    assert by_query.location == "/cases"


def test_signing_in_starts_a_new_session_so_that_a_planted_cookie_is_worth_nothing(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    planted = signed_in("carol").client.get_cookie("dermqueue").value
    victim = app.test_client()
    victim.set_cookie("dermqueue", planted)

    sign_in(victim, "alice@example.org")

    with victim.session_transaction() as after:
        token = after["_user_id"]
    with world.sessions() as session:
        login = accounts.live_login(session, token)
        assert login is not None
        assert login.account_id == world.alice.account_id
    attacker = app.test_client()
    attacker.set_cookie("dermqueue", planted)
    alices = world.submit(world.alice)
    assert attacker.get(f"/cases/{alices}").status_code == 403
    assert victim.get(f"/cases/{alices}").status_code == 200


def test_the_cookie_holds_a_random_token_of_which_the_database_knows_only_the_hash(
    world: World, client: FlaskClient
) -> None:
    sign_in(client, "alice@example.org")

    with client.session_transaction() as cookie:
        token = cookie["_user_id"]
    assert len(token) >= 43, "256 bits in base64"
    with world.sessions() as session:
        (login,) = accounts.logins_of(session, world.alice.account_id)
        assert token not in str(vars(login))
        assert login.token_hash == accounts.digest(token)


def test_a_cookie_of_another_key_is_nobody(client: FlaskClient, app: Flask) -> None:
    sign_in(client, "alice@example.org")
    value = client.get_cookie("dermqueue").value
    changed = app.test_client()
    changed.set_cookie("dermqueue", value[:-2] + ("AA" if value[-2:] != "AA" else "BB"))

    assert changed.get("/cases").location.startswith("/sign-in")


def test_a_case_page_link_leads_through_the_sign_in_and_back(
    world: World, client: FlaskClient
) -> None:
    case = world.submit(world.alice)
    asked = client.get(f"/cases/{case}")
    assert asked.location == f"/sign-in?next=/cases/{case}"
    assert f'value="/cases/{case}"' in client.get(asked.location).text
    change_row(world, case, claimed_by=None)

    form = {"email": "alice@example.org", "password": PASSWORD, "next": f"/cases/{case}"}
    assert send(client, "/sign-in", form).location == f"/cases/{case}"


def test_a_planted_secret_is_not_offered_as_the_second_factor(app: Flask, world: World) -> None:
    without_second_factor(world, world.dan)
    victim = app.test_client()
    with victim.session_transaction() as planted:
        planted["new_totp_secret"] = "KNOWNTOTHEATTACKERKNOWNTOTHEATTA"

    sign_in(victim, "dan@example.org")

    page = victim.get("/second-factor/new").text
    assert "KNOW NTOT" not in page
    with victim.session_transaction() as cookie:
        assert cookie["new_totp_secret"] != "KNOWNTOTHEATTACKERKNOWNTOTHEATTA"


def test_signing_in_renews_the_token_of_forms(app: Flask) -> None:
    client = app.test_client()
    before = token_of(client)

    sign_in(client, "alice@example.org")

    assert client.post("/sign-out", data={"csrf_token": before}).status_code == 400
    assert client.get("/cases").status_code == 200
