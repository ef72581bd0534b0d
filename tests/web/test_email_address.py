"""Another e-mail address counts once its owner opened the link, and the old one is told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.records import accounts
from clinic.records.models import Notice
from tests.browser_session import BrowserSession
from tests.mail_tools import KeptMail, mailer_of
from tests.portal_tools import another_app, both_databases, count, entries, send, words
from tests.world import PASSWORD, World
from web.database import db

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def mailing(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = another_app(world, database_url, tmp_path, mail_from="no-reply@derm.example")
    yield app
    with app.app_context():
        db.engine.dispose()


def signs_in(app: Flask, email: str) -> bool:
    form = {"email": email, "password": PASSWORD}
    return send(app.test_client(), "/sign-in", form).status_code == 302


def asked(mailing: Flask, world: World, email: str) -> KeptMail:
    """What is mailed after Alice asked for this address."""
    alice = BrowserSession.of(mailing, world, world.alice)
    assert "Check your mail" in words(alice.post("/account/email", {"email": email}).text)
    channel = KeptMail()
    mailer_of(world, channel).send_due()
    return channel


@both_databases
def test_the_new_address_counts_after_its_link_and_the_old_one_is_told(
    mailing: Flask, world: World
) -> None:
    channel = asked(mailing, world, "ada@example.net")
    link = channel.last_link()
    client = mailing.test_client()
    assert client.get(link).status_code == 200
    assert signs_in(mailing, "alice@example.org"), "looking at the link does nothing"

    assert send(client, link, {}).location == "/"

    assert signs_in(mailing, "ada@example.net")
    assert not signs_in(mailing, "alice@example.org")
    assert client.get(link).status_code == 404, "the link works once"
    mailer_of(world, channel).send_due()
    told = [address for address, message in channel.sent if "was changed" in message.subject]
    assert told == ["alice@example.org"]
    assert len(entries(world, AuditAction.EMAIL_CHANGED)) == 1


def test_an_address_that_another_has_is_told_its_owner_and_nobody_else(
    mailing: Flask, world: World
) -> None:
    channel = asked(mailing, world, "carol@example.org")

    ((address, message),) = channel.sent
    assert address == "carol@example.org"
    assert "http" not in message.text
    assert signs_in(mailing, "carol@example.org")


def test_an_address_that_was_taken_meanwhile_is_not_taken_over(
    mailing: Flask, world: World
) -> None:
    link = asked(mailing, world, "ada@example.net").last_link()
    with world.sessions() as session, session.begin():
        carol = accounts.account_by_email(session, world.secrets, "carol@example.org")
        accounts.set_email(session, world.secrets, carol, "ada@example.net")

    client = mailing.test_client()

    assert send(client, link, {}, page=link).status_code == 404
    assert signs_in(mailing, "alice@example.org")


def test_without_mail_the_page_says_whom_to_call(world: World, signed_in: SignedIn) -> None:
    alice = signed_in("alice")

    assert "Call Clinic 1" in words(alice.get("/account/email").text)
    alice.post("/account/email", {"email": "ada@example.net"})
    with world.sessions() as session:
        assert session.scalars(select(Notice)).all() == []


@pytest.mark.parametrize("email", ["", "ada", "a@b", "x" * 250 + "@example.net"])
def test_what_is_no_address_is_refused(mailing: Flask, world: World, email: str) -> None:
    alice = BrowserSession.of(mailing, world, world.alice)

    assert alice.post("/account/email", {"email": email}).status_code == 422
    assert count(world, Notice) == 0
