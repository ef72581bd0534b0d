"""Passwords of people: changed with the old one, or chosen anew by a mailed link."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.passwords import Passwords
from clinic.records.db import database_now
from clinic.records.models import Account, Notice, OneTimeLink
from tests.browser_session import BrowserSession
from tests.mail_tools import KeptMail, mailer_of
from tests.portal_tools import another_app, both_databases, count, entries, send, token_of, words
from tests.world import PASSWORD, World
from web.database import db

SignedIn = Callable[[str], BrowserSession]
NEW = "velvet otter cargo"


@pytest.fixture
def mailing(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """A portal that sends mail."""
    app = another_app(world, database_url, tmp_path, mail_from="no-reply@derm.example")
    yield app
    with app.app_context():
        db.engine.dispose()


def signs_in(app: Flask, email: str, password: str) -> bool:
    answer = send(app.test_client(), "/sign-in", {"email": email, "password": password})
    return answer.status_code == 302


def kinds(world: World) -> list[str]:
    with world.sessions() as session:
        return list(session.scalars(select(Notice.kind).order_by(Notice.created_at)))


# --- Changing -------------------------------------------------------------------------------------


@both_databases
def test_a_changed_password_signs_every_other_browser_out(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    here, there = signed_in("alice"), signed_in("alice")

    answer = here.post("/account/password", {"old": PASSWORD, "password": NEW})

    assert answer.location == "/account"
    assert here.get("/cases").status_code == 200
    assert there.get("/cases").location.startswith("/sign-in")
    assert not signs_in(app, "alice@example.org", PASSWORD)
    assert signs_in(app, "alice@example.org", NEW)
    assert kinds(world)[0] == NoticeKind.PASSWORD_CHANGED
    assert len(entries(world, AuditAction.PASSWORD_CHANGED)) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wrong", NEW, "This is not your password until now."),
        (PASSWORD, "short", "Use at least 8 characters."),
        (PASSWORD, "password123", "Many people use it"),
        (PASSWORD, "alice@example", "Leave out your name, your email address"),
        (PASSWORD, "", "Choose a password."),
    ],
)
def test_a_password_that_is_not_good_changes_nothing(
    app: Flask, signed_in: SignedIn, old: str, new: str, said: str
) -> None:
    here, there = signed_in("alice"), signed_in("alice")

    answer = here.post("/account/password", {"old": old, "password": new})

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert there.get("/cases").status_code == 200
    assert signs_in(app, "alice@example.org", PASSWORD)


def test_spaces_and_letters_of_any_language_are_kept(app: Flask, signed_in: SignedIn) -> None:
    new = "  zwölf Katzen 日本語  "
    signed_in("alice").post("/account/password", {"old": PASSWORD, "password": new})

    assert signs_in(app, "alice@example.org", new)
    assert not signs_in(app, "alice@example.org", new.strip())


def test_signing_in_brings_an_old_hash_up_to_date(app: Flask, world: World) -> None:
    old = Passwords.using(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.alice.account_id).password_hash = old.hash(PASSWORD)

    assert signs_in(app, "alice@example.org", PASSWORD)

    with world.sessions() as session:
        stored = session.get_one(Account, world.alice.account_id).password_hash
    assert not world.passwords.is_outdated(stored)
    assert signs_in(app, "alice@example.org", PASSWORD)


# --- Forgotten ------------------------------------------------------------------------------------


def ask(app: Flask, email: str) -> TestResponse:
    return send(app.test_client(), "/password/forgotten", {"email": email})


def mailed_link(world: World, app: Flask, email: str) -> str:
    ask(app, email)
    channel = KeptMail()
    mailer_of(world, channel).send_due()
    return channel.last_link()


def reset(app: Flask, link: str, password: str = NEW) -> TestResponse:
    return send(app.test_client(), link, {"password": password})


@both_databases
def test_a_mailed_link_sets_a_new_password_once_and_ends_all_sessions(
    app: Flask, mailing: Flask, world: World, signed_in: SignedIn
) -> None:
    alice = signed_in("alice")
    link = mailed_link(world, mailing, "alice@example.org")
    late = mailing.test_client()
    token = token_of(late, link)

    answer = reset(mailing, link)

    assert answer.location == "/sign-in"
    assert alice.get("/cases").location.startswith("/sign-in")
    assert signs_in(app, "alice@example.org", NEW)
    assert not signs_in(app, "alice@example.org", PASSWORD)
    again = late.post(link, data={"password": "another otter cargo", "csrf_token": token})
    assert again.status_code == 404
    assert "Ask for a new one." in words(again.text)
    assert [one.actor for one in entries(world, AuditAction.PASSWORD_RESET)] == [
        world.alice.account_id
    ]
    assert NoticeKind.PASSWORD_CHANGED in kinds(world)


def test_a_reset_signs_nobody_in_and_keeps_the_second_factor(mailing: Flask, world: World) -> None:
    link = mailed_link(world, mailing, "bob@example.org")
    client = mailing.test_client()
    send(client, link, {"password": NEW})
    assert client.get("/review").location.startswith("/sign-in")

    send(client, "/sign-in", {"email": "bob@example.org", "password": NEW})

    assert client.get("/review").location == "/second-factor"
    assert client.get("/second-factor/new").location == "/second-factor"


def test_known_and_unknown_addresses_get_the_same_page_and_the_same_work(
    mailing: Flask, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    monkeypatch.setattr(
        "clinic.records.accounts.account_by_email", lambda *_: looked_up.append("an account")
    )
    hashed: list[str] = []
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: hashed.append("a password"))

    pages = [ask(mailing, f"{name}@example.org") for name in ("alice", "nobody")]

    assert {one.status_code for one in pages} == {200}
    assert pages[0].text.replace("alice", "") == pages[1].text.replace("nobody", "")
    assert (looked_up, hashed) == ([], []), "the portal does not even look"
    assert count(world, Notice) == 2
    asked = entries(world, AuditAction.PASSWORD_RESET_ASKED)
    assert [one.actor for one in asked] == ["unknown", "unknown"]


@pytest.mark.parametrize("wrong", ["old", "made up", "of another purpose", "disabled"])
def test_a_link_that_is_not_good_changes_nothing(
    app: Flask, mailing: Flask, world: World, wrong: str
) -> None:
    link = mailed_link(world, mailing, "alice@example.org")
    with world.sessions() as session, session.begin():
        row = session.scalars(select(OneTimeLink)).one()
        if wrong == "old":
            row.expires_at = database_now(session) - timedelta(seconds=1)
        elif wrong == "disabled":
            account = session.get_one(Account, world.alice.account_id)
            account.disabled_at = database_now(session)
    if wrong == "made up":
        link = "/password/new/" + "x" * 43
    if wrong == "of another purpose":
        link = link.replace("/password/new/", "/account/email/")

    client = mailing.test_client()
    answer = client.post(link, data={"password": NEW, "csrf_token": token_of(client)})

    assert answer.status_code == client.get(link).status_code == 404
    assert wrong == "disabled" or signs_in(app, "alice@example.org", PASSWORD)


def test_a_weak_password_does_not_use_the_link_up(app: Flask, mailing: Flask, world: World) -> None:
    link = mailed_link(world, mailing, "alice@example.org")

    assert reset(mailing, link, "password123").status_code == 422
    assert reset(mailing, link).status_code == 302
    assert signs_in(app, "alice@example.org", NEW)


def test_another_link_dies_with_the_first_that_was_used(mailing: Flask, world: World) -> None:
    first, second = (mailed_link(world, mailing, "alice@example.org") for _ in range(2))

    assert reset(mailing, second).status_code == 302
    assert mailing.test_client().get(first).status_code == 404


def test_nobodys_mailbox_is_filled_by_others(mailing: Flask) -> None:
    codes = [ask(mailing, "alice@example.org").status_code for _ in range(6)]

    assert codes == [200] * 5 + [429]
    assert ask(mailing, "carol@example.org").status_code == 200


def test_without_mail_the_page_says_whom_to_call(client: FlaskClient, world: World) -> None:
    client.get("/c/clinic-1")
    page = client.get("/password/forgotten")

    assert page.status_code == 200
    assert "Call Clinic 1" in words(page.text)
    assert "<form class" not in page.text
    token = token_of(client)
    client.post("/password/forgotten", data={"email": "alice@example.org", "csrf_token": token})
    assert count(world, Notice) == 0
