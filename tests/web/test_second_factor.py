"""Second factors: codes, passkeys, recovery codes; proving, stepping up, setting up, removing."""

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.records import accounts, passkeys
from clinic.records.db import database_now
from clinic.records.models import Account, Notice, Passkey, PasskeyChallenge, RecoveryCode
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    JSON,
    both_databases,
    code_at,
    count,
    entries,
    half_signed_in,
    send,
    table_bytes,
    token_of,
    without_second_factor,
    words,
)
from tests.soft_authenticator import PRESENT, SoftAuthenticator
from tests.world import PASSWORD, World

SignedIn = Callable[[str], BrowserSession]
NOON = 1_800_000_000.0
CODE = re.compile(r"<li><code>([A-Z0-9-]+)</code></li>")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the one-time codes; `clock.now` moves it."""
    clock = SimpleNamespace(now=NOON)
    monkeypatch.setattr("web.second_factor.time", SimpleNamespace(time=lambda: clock.now))
    return clock


def options(client: FlaskClient, token: str, path: str) -> dict[str, Any]:
    answer = client.post(path, headers={"X-CSRFToken": token, **JSON})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def make_passkey(browser: BrowserSession, **device: Any) -> SoftAuthenticator:
    """A passkey that this person sets up, and the browser's answer to it."""
    made = SoftAuthenticator(**device)
    asked = options(browser.client, browser.csrf_token(), "/passkeys/options/new")
    answer = browser.post("/passkeys/new", {"name": "my phone", "credential": made.create(asked)})
    assert answer.status_code in {200, 302}, words(answer.text)
    return made


def prove(client: FlaskClient, token: str, device: SoftAuthenticator, path: str) -> TestResponse:
    asked = options(client, token, "/passkeys/options/use")
    return client.post(path, data={"credential": device.get(asked), "csrf_token": token})


def sign_in_with(
    app: Flask, device: SoftAuthenticator, *, client: FlaskClient | None = None
) -> Any:
    """A new browser that signs in with a passkey alone; the client and the answer."""
    client = client or app.test_client()
    token = token_of(client)
    asked = options(client, token, "/sign-in/passkey/options")
    data = {"credential": device.get(asked), "csrf_token": token}
    return client, client.post("/sign-in/passkey", data=data)


def told(world: World, name: str) -> list[str]:
    """The kinds of the notices that this person was left."""
    with world.sessions() as session:
        mine = Notice.account_id == world.people[name].account_id
        query = select(Notice.kind).where(mine).order_by(Notice.created_at)
        return list(session.scalars(query))


def age_step_up(world: World, name: str, *, minutes: int) -> None:
    with world.sessions() as session, session.begin():
        for login in accounts.logins_of(session, world.people[name].account_id):
            login.stepped_up_at = database_now(session) - timedelta(minutes=minutes)


# --- Passkeys -------------------------------------------------------------------------------------


@both_databases
def test_a_passkey_signs_in_alone_with_both_factors(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    device = make_passkey(signed_in("bob"))

    client, answer = sign_in_with(app, device)

    assert (answer.status_code, answer.location) == (302, "/review")
    assert client.get("/review").status_code == 200, "no second step is asked for"
    assert entries(world, AuditAction.SIGNED_IN)[-1].actor == world.bob.account_id


def test_a_patient_signs_in_with_a_passkey_too_and_again(app: Flask, signed_in: SignedIn) -> None:
    device = make_passkey(signed_in("alice"))

    for _ in range(2):
        client, answer = sign_in_with(app, device)
        assert answer.location == "/cases"
        assert client.get("/cases").status_code == 200


def test_a_passkey_is_the_second_factor_after_a_password(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    device = make_passkey(signed_in("bob"))
    client = half_signed_in(app, world, world.bob)
    assert client.get("/review").location == "/second-factor"

    answer = prove(client, token_of(client, "/second-factor"), device, "/second-factor")

    assert answer.location == "/review"
    assert client.get("/review").status_code == 200


def test_the_challenge_is_random_long_and_the_person_must_be_verified(
    app: Flask, signed_in: SignedIn
) -> None:
    bob = signed_in("bob")
    make_passkey(bob)
    client = app.test_client()
    token = token_of(client)

    asked = [options(client, token, "/sign-in/passkey/options") for _ in range(2)]
    asked.append(options(bob.client, bob.csrf_token(), "/passkeys/options/use"))
    made = options(bob.client, bob.csrf_token(), "/passkeys/options/new")

    assert len({one["challenge"] for one in [*asked, made]}) == 4
    assert all(len(one["challenge"]) >= 86 for one in [*asked, made]), "64 bytes in base64"
    assert {one["userVerification"] for one in asked} == {"required"}
    assert made["authenticatorSelection"]["userVerification"] == "required"
    assert made["authenticatorSelection"]["residentKey"] == "required"
    assert not asked[0].get("allowCredentials"), "nobody has said who they are"
    assert len(made["excludeCredentials"]) == len(asked[2]["allowCredentials"]) == 1


@both_databases
def test_an_answer_works_once(app: Flask, world: World, signed_in: SignedIn) -> None:
    device = make_passkey(signed_in("bob"), counts=False)
    client = app.test_client()
    token = token_of(client)
    answer = device.get(options(client, token, "/sign-in/passkey/options"))
    data = {"credential": answer, "csrf_token": token}
    with client.session_transaction() as cookie:
        before = dict(cookie)
    assert client.post("/sign-in/passkey", data=data).status_code == 302

    thief = app.test_client()
    with thief.session_transaction() as cookie:
        cookie.update(before)
    again = thief.post("/sign-in/passkey", data=data)

    assert again.status_code == 422
    assert thief.get("/review").location.startswith("/sign-in")
    assert count(world, PasskeyChallenge) == 0


def test_a_challenge_of_another_browser_or_an_old_one_is_worth_nothing(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    device = make_passkey(signed_in("bob"))
    asking, sending = app.test_client(), app.test_client()
    asked = options(asking, token_of(asking), "/sign-in/passkey/options")
    token = token_of(sending)
    data = {"credential": device.get(asked), "csrf_token": token}
    assert sending.post("/sign-in/passkey", data=data).status_code == 422

    asked = options(sending, token, "/sign-in/passkey/options")
    with world.sessions() as session, session.begin():
        for one in session.scalars(select(PasskeyChallenge)):
            one.expires_at = database_now(session) - timedelta(seconds=1)
    late = {"credential": device.get(asked), "csrf_token": token}
    assert sending.post("/sign-in/passkey", data=late).status_code == 422


WRONG = {
    "another origin": {"origin": "https://localhost.evil.example"},
    "another site": {"rp_id": "evil.example"},
    "nobody verified": {"flags": PRESENT},
    "nobody present": {"flags": 0},
    "counter going back": {"count": 3},
    "another key": {"private": SoftAuthenticator().private},
    "another credential": {"credential_id": b"c" * 32},
    "another person": {"user_handle": b"u" * 16},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_refused_and_audited(
    app: Flask, world: World, signed_in: SignedIn, wrong: str
) -> None:
    device = make_passkey(signed_in("bob"), count=7)
    sign_in_with(app, device)
    for name, value in WRONG[wrong].items():
        setattr(device, name, value)

    client, answer = sign_in_with(app, device)

    assert answer.status_code == 422
    assert "This passkey did not work." in words(answer.text)
    assert client.get("/review").location.startswith("/sign-in")
    assert len(entries(world, AuditAction.SIGN_IN_REFUSED)) == 1
    half = half_signed_in(app, world, world.bob)
    token = token_of(half, "/second-factor")
    assert prove(half, token, device, "/second-factor").status_code == 422
    assert len(entries(world, AuditAction.PROOF_REFUSED)) == 1
    assert half.get("/review").location == "/second-factor"


BROKEN = ["", "{}", "[]", "null", "no json", '{"rawId": 5}', '{"rawId": "&&&"}', '{"rawId": "AAA"}']


@pytest.mark.parametrize("broken", [*BROKEN, "x" * 17_000, "cut", "not cbor"])
def test_whatever_a_browser_sends_is_answered_in_words(
    app: Flask, world: World, signed_in: SignedIn, broken: str
) -> None:
    bob = signed_in("bob")
    device = make_passkey(bob)
    client = app.test_client()
    token = token_of(client)
    asked = options(client, token, "/sign-in/passkey/options")
    if broken == "cut":
        broken = device.get(asked)[:-40]
    elif broken == "not cbor":
        broken = re.sub(r'("authenticatorData": ")[^"]*', r"\1AAAA", device.get(asked))

    answer = client.post("/sign-in/passkey", data={"credential": broken, "csrf_token": token})
    options(bob.client, bob.csrf_token(), "/passkeys/options/new")
    made = bob.post("/passkeys/new", {"name": "x", "credential": broken})

    assert (answer.status_code, made.status_code) == (422, 422)
    assert len(entries(world, AuditAction.SIGN_IN_REFUSED)) == 1
    assert count(world, Passkey) == 1


def test_a_passkey_of_somebody_else_proves_nothing(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    make_passkey(signed_in("bob"))
    dans = make_passkey(signed_in("dan"))
    client = half_signed_in(app, world, world.bob)

    answer = prove(client, token_of(client, "/second-factor"), dans, "/second-factor")

    assert answer.status_code == 422


def test_a_disabled_person_is_not_signed_in_by_a_passkey(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    device = make_passkey(signed_in("bob"))
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.bob.account_id)
        account.disabled_at = database_now(session)

    assert sign_in_with(app, device)[1].status_code == 422


def test_several_passkeys_are_named_renamed_and_removed(world: World, signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    make_passkey(bob)
    make_passkey(bob)
    with world.sessions() as session:
        first, second = passkeys.of_account(session, world.bob.account_id)
    assert words(bob.get("/account").text).count("my phone") >= 2

    bob.post(f"/passkeys/{first.id}/name", {"name": "the key in the drawer"})
    bob.post(f"/passkeys/{second.id}/remove")

    assert "the key in the drawer" in bob.get("/account").text
    assert count(world, Passkey) == 1
    assert b"drawer" not in table_bytes(world), "names are sealed"
    assert told(world, "bob") == ["factor added", "factor added", "factor removed"]
    assert bob.post(f"/passkeys/{first.id}/name", {"name": "x" * 41}).status_code == 422


def test_nobody_touches_anothers_passkey(world: World, signed_in: SignedIn) -> None:
    make_passkey(signed_in("bob"))
    with world.sessions() as session:
        (bobs,) = passkeys.of_account(session, world.bob.account_id)
    dan = signed_in("dan")

    assert dan.post(f"/passkeys/{bobs.id}/remove").status_code == 403
    assert dan.post(f"/passkeys/{bobs.id}/name", {"name": "mine"}).status_code == 403
    assert dan.post(f"/passkeys/{'0' * 32}/remove").status_code == 404
    assert count(world, Passkey) == 1


def test_one_credential_is_registered_once(world: World, signed_in: SignedIn) -> None:
    bob, dan = signed_in("bob"), signed_in("dan")
    device = make_passkey(bob)
    asked = options(dan.client, dan.csrf_token(), "/passkeys/options/new")

    answer = dan.post("/passkeys/new", {"name": "copy", "credential": device.create(asked)})

    assert answer.status_code == 422
    assert "This passkey is registered already." in words(answer.text)
    assert count(world, Passkey) == 1


# --- Recovery codes -------------------------------------------------------------------------------


def first_codes(app: Flask, world: World, clock: SimpleNamespace, name: str) -> list[str]:
    """The codes that somebody gets who sets up their first factor."""
    person = world.people[name]
    without_second_factor(world, person)
    client = half_signed_in(app, world, person)
    page = client.get("/second-factor/new").text
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page).group(1).replace(" ", "")
    answer = send(client, "/second-factor/new", {"code": code_at(clock.now, secret)})
    return CODE.findall(answer.text)


@both_databases
def test_ten_recovery_codes_come_with_the_first_factor_and_each_works_once(
    app: Flask, world: World, clock: SimpleNamespace
) -> None:
    codes = first_codes(app, world, clock, "dan")
    assert len(set(codes)) == 10
    assert not [one for one in codes if one.encode() in table_bytes(world)]
    client, thief = (half_signed_in(app, world, world.dan) for _ in range(2))

    typed = codes[3].lower().replace("-", " ")
    answer = send(client, "/second-factor/recovery", {"code": typed})

    assert answer.location == "/account"
    assert "You have 9 left." in words(client.get("/account").text)
    assert client.get("/review").status_code == 200
    assert send(thief, "/second-factor/recovery", {"code": codes[3]}).status_code == 422
    assert thief.get("/review").location == "/second-factor"
    assert told(world, "dan")[-1] == NoticeKind.RECOVERY_CODE_USED
    assert [one.detail for one in entries(world, AuditAction.RECOVERY_CODE_USED)] == ["9 left"]


def test_a_recovery_code_is_of_one_person(app: Flask, world: World, clock: SimpleNamespace) -> None:
    codes = first_codes(app, world, clock, "dan")
    bob = half_signed_in(app, world, world.bob)

    assert send(bob, "/second-factor/recovery", {"code": codes[0]}).status_code == 422


def test_new_codes_end_the_old_ones_and_need_a_factor_and_a_fresh_proof(
    app: Flask, world: World, signed_in: SignedIn, clock: SimpleNamespace
) -> None:
    old = first_codes(app, world, clock, "dan")
    dan = signed_in("dan")

    new = CODE.findall(dan.post("/recovery-codes").text)

    assert len({*old, *new}) == 20
    half = half_signed_in(app, world, world.dan)
    assert send(half, "/second-factor/recovery", {"code": old[0]}).status_code == 422
    assert send(half, "/second-factor/recovery", {"code": new[0]}).status_code == 302
    assert signed_in("alice").post("/recovery-codes").status_code == 409
    age_step_up(world, "dan", minutes=16)
    assert dan.post("/recovery-codes").location == "/step-up?next=/account"


# --- Setting up and removing ----------------------------------------------------------------------


def test_a_patient_turns_a_second_step_on_and_then_needs_it(
    app: Flask, signed_in: SignedIn, clock: SimpleNamespace
) -> None:
    alice = signed_in("alice")
    page = alice.get("/second-factor/new").text
    assert "<svg" in page
    assert "style=" not in page
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page).group(1).replace(" ", "")
    assert alice.post("/second-factor/new", {"code": code_at(clock.now, secret)}).status_code == 200
    assert alice.get("/cases").status_code == 200

    client = app.test_client()
    send(client, "/sign-in", {"email": "alice@example.org", "password": PASSWORD})
    assert client.get("/cases").location == "/second-factor"
    clock.now += 30
    proved = send(client, "/second-factor", {"code": code_at(clock.now, secret)})

    assert proved.location == "/cases"
    assert client.get("/cases").status_code == 200


def test_the_first_factor_signs_out_whoever_never_proved_one(
    world: World, signed_in: SignedIn
) -> None:
    thief, alice = signed_in("alice"), signed_in("alice")

    make_passkey(alice)
    later = signed_in("alice")
    make_passkey(alice)

    assert thief.get("/cases").location.startswith("/sign-in")
    assert alice.get("/cases").status_code == later.get("/cases").status_code == 200
    assert told(world, "alice") == ["factor added", "factor added"]


def test_a_password_is_no_proof_of_a_second_factor(world: World, signed_in: SignedIn) -> None:
    alice = signed_in("alice")
    with world.sessions() as session, session.begin():
        (login,) = accounts.logins_of(session, world.alice.account_id)
        login.second_factor_at = login.stepped_up_at = None

    alice.post("/step-up", {"password": PASSWORD})

    with world.sessions() as session:
        (login,) = accounts.logins_of(session, world.alice.account_id)
    assert login.second_factor_at is None
    assert login.stepped_up_at is not None


def test_half_signed_in_nobody_sets_up_or_removes_a_factor(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    make_passkey(signed_in("alice"))
    for person in (world.alice, world.bob):
        client = half_signed_in(app, world, person)
        token = token_of(client, "/second-factor")
        for path in ("/second-factor/new", "/passkeys/new"):
            assert client.get(path).location == "/second-factor"
        for path in ("/passkeys/options/new", "/second-factor/remove", "/recovery-codes"):
            answer = client.post(path, data={"csrf_token": token})
            assert answer.location == "/second-factor", path


SENSITIVE = ["/second-factor/new", "/passkeys/new", "/account/email", "/account/password"]


@pytest.mark.parametrize("path", SENSITIVE)
def test_with_an_old_proof_one_is_asked_again_and_led_back(
    world: World, signed_in: SignedIn, clock: SimpleNamespace, path: str
) -> None:
    bob = signed_in("bob")
    age_step_up(world, "bob", minutes=16)

    asked = bob.get(path)

    assert asked.location == f"/step-up?next={path}"
    answer = bob.post(asked.location, {"code": code_at(clock.now)})
    assert answer.location == path
    assert bob.get(path).status_code == 200


def test_a_patient_without_a_second_factor_steps_up_with_the_password(
    world: World, signed_in: SignedIn
) -> None:
    alice = signed_in("alice")
    age_step_up(world, "alice", minutes=16)
    page = alice.get("/second-factor/new").location
    assert 'type="password"' in alice.get(page).text

    assert alice.post(page, {"password": "wrong"}).status_code == 422
    answer = alice.post(page, {"password": PASSWORD})

    assert answer.location == "/second-factor/new"
    assert alice.get("/second-factor/new").status_code == 200
    assert len(entries(world, AuditAction.PROOF_REFUSED)) == 1


def test_a_script_with_an_old_proof_is_told_so(world: World, signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    age_step_up(world, "bob", minutes=16)
    headers = {"X-CSRFToken": bob.csrf_token(), **JSON}

    answer = bob.client.post("/passkeys/options/new", headers=headers)

    assert (answer.status_code, answer.json) == (401, {"error": "confirm it is you"})


def test_a_passkey_steps_up(world: World, signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    device = make_passkey(bob)
    age_step_up(world, "bob", minutes=16)

    answer = prove(bob.client, bob.csrf_token(), device, "/step-up?next=/account/password")

    assert answer.location == "/account/password"
    assert bob.get("/account/password").status_code == 200


def test_staff_keep_one_factor_and_patients_may_keep_none(
    world: World, signed_in: SignedIn
) -> None:
    bob, alice = signed_in("bob"), signed_in("alice")

    refused = bob.post("/second-factor/remove")
    make_passkey(bob)
    removed = bob.post("/second-factor/remove")
    with world.sessions() as session:
        (bobs,) = passkeys.of_account(session, world.bob.account_id)
    last = bob.post(f"/passkeys/{bobs.id}/remove")

    assert refused.status_code == last.status_code == 409
    assert "Add another one before you remove this one." in words(refused.text)
    assert removed.location == "/account"
    make_passkey(alice)
    with world.sessions() as session:
        (hers,) = passkeys.of_account(session, world.alice.account_id)
    assert alice.post(f"/passkeys/{hers.id}/remove").location == "/account"
    with world.sessions() as session:
        codes = session.scalars(select(RecoveryCode.account_id)).all()
    assert world.alice.account_id not in codes, "recovery codes of nothing"
    assert len(entries(world, AuditAction.SECOND_FACTOR_REMOVED)) == 2


def test_another_code_app_takes_the_place_of_the_first(
    app: Flask, world: World, signed_in: SignedIn, clock: SimpleNamespace
) -> None:
    bob = signed_in("bob")
    page = bob.get("/second-factor/new").text
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page).group(1).replace(" ", "")
    bob.post("/second-factor/new", {"code": code_at(clock.now, secret)})
    clock.now += 30

    client = half_signed_in(app, world, world.bob)
    assert send(client, "/second-factor", {"code": code_at(clock.now)}).status_code == 422
    assert send(client, "/second-factor", {"code": code_at(clock.now, secret)}).status_code == 302


def test_staff_set_up_a_passkey_as_their_first_factor(app: Flask, world: World) -> None:
    without_second_factor(world, world.dan)
    client = half_signed_in(app, world, world.dan)
    browser = BrowserSession(client, token_of(client, "/second-factor/new"))

    device = SoftAuthenticator()
    asked = options(client, browser.csrf_token(), "/passkeys/options/new")
    answer = browser.post("/passkeys/new", {"name": "key", "credential": device.create(asked)})

    assert len(CODE.findall(answer.text)) == 10
    assert client.get("/review").status_code == 200
    assert sign_in_with(app, device)[1].location == "/review"
