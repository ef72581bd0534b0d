"""Patients register themselves; who they are is in clear nowhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.consent import TEXT_VERSION
from clinic.notices import NoticeKind
from clinic.records import accounts, clinics
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    Clinic,
    Consent,
    EpochKeyRow,
    LoginSession,
    Notice,
    Patient,
)
from tests.mail_tools import KeptMail, mailer_of
from tests.portal_tools import (
    REGISTRATION,
    another_app,
    both_databases,
    count,
    entries,
    send,
    stored_bytes,
    table_bytes,
    words,
)
from tests.world import World
from web.database import db

NAMED = (b"ada@example.com", b"ada@", b"okafor", b"1985-03-27", b"four words are better")


def register(client: FlaskClient, **changed: str) -> int:
    return send(client, "/register", {**REGISTRATION, **changed}).status_code


@both_databases
def test_a_new_patient_is_signed_in_and_can_sign_in_again(
    world: World, client: FlaskClient
) -> None:
    answer = send(client, "/register", REGISTRATION)

    assert (answer.status_code, answer.location) == (302, "/cases")
    assert client.get("/cases").status_code == 200
    other = client.application.test_client()
    form = {"email": "ADA@example.com", "password": REGISTRATION["password"]}
    assert send(other, "/sign-in", form).location == "/cases"
    with world.sessions() as session:
        account = accounts.account_by_email(session, world.secrets, "ada@example.com")
        assert account is not None
        assert account.password_hash.startswith("$argon2id$")
        assert account.clinic_id == world.clinic_id
    assert [one.actor for one in entries(world, AuditAction.ACCOUNT_CREATED)] == [account.id]


@both_databases
def test_neither_address_nor_name_nor_birth_date_is_stored_in_clear(
    world: World, client: FlaskClient, tmp_path: Path
) -> None:
    assert register(client) == 302

    stored = dict(stored_bytes(tmp_path)) | {"tables": table_bytes(world)}
    assert world.clinic_id.encode() in stored["tables"], "the search would find what is in clear"
    found = [(place, one) for place, data in stored.items() for one in NAMED if one in data.lower()]
    assert found == []


def test_the_consents_are_stored_by_purpose_with_the_version_of_the_text(
    world: World, client: FlaskClient
) -> None:
    register(client, consent_ai="deny", consent_teaching="y")

    with world.sessions() as session:
        account = accounts.account_by_email(session, world.secrets, "ada@example.com")
        patient = accounts.patient_of(session, account.id)
        rows = session.scalars(select(Consent).where(Consent.patient_id == patient.id)).all()
    assert {one.purpose: one.permitted for one in rows} == {
        "care": True,
        "teledermatology": True,
        "ai_assistance": False,
        "research": False,
        "teaching": True,
    }
    assert {one.text_version for one in rows} == {TEXT_VERSION}


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "Use at least 8 characters."),
        ("Password123", "This password is too easy to guess."),
        ("dermqueue123", "This password is too easy to guess."),
        ("aaaaaaaaaaaa", "This password is too easy to guess."),
        ("x" * 129, "Use 128 characters or fewer."),
        ("Okafor1985", "Leave out your name, your email address"),
        ("Ada.example.com", "Leave out your name, your email address"),
        ("Clinic1Clinic1", "Leave out your name, your email address"),
    ],
)
def test_a_weak_password_is_refused_in_words(
    world: World, client: FlaskClient, password: str, said: str
) -> None:
    answer = send(client, "/register", {**REGISTRATION, "password": password})

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert f'value="{password}"' not in answer.text
    assert count(world, Patient) == 2, "Alice and Carol"


@pytest.mark.parametrize(
    "password",
    ["a sentence without digits", "日本語のとても長い合言葉です", "ocean violin cargo " * 6],
)
def test_no_kind_of_character_is_asked_for(client: FlaskClient, password: str) -> None:
    assert register(client, password=password) == 302


def test_an_address_that_is_taken_is_refused_without_a_second_account(
    world: World, client: FlaskClient
) -> None:
    answer = send(client, "/register", {**REGISTRATION, "email": " Alice@EXAMPLE.org"})

    assert answer.status_code == 422
    assert "Use another email address, or sign in" in answer.text
    with world.sessions() as session:
        index = world.secrets.email_index("alice@example.org")
        found = session.scalars(select(Account).where(Account.email_index == index)).all()
    assert [one.id for one in found] == [world.alice.account_id]
    assert count(world, LoginSession) == 0


@pytest.mark.parametrize("missing", ["consent_care", "consent_teledermatology", "consent_ai"])
def test_a_consent_that_must_be_decided_cannot_be_left_out(
    world: World, client: FlaskClient, missing: str
) -> None:
    form = {name: value for name, value in REGISTRATION.items() if name != missing}

    assert send(client, "/register", form).status_code == 422
    assert count(world, Patient) == 2


def test_nobody_registers_as_staff(world: World, client: FlaskClient) -> None:
    register(client, role="administrator", registration_number="1")

    with world.sessions() as session:
        account = accounts.account_by_email(session, world.secrets, "ada@example.com")
    assert account is not None
    assert account.role == "patient"


def test_without_a_clinic_key_nobody_is_half_registered(world: World, client: FlaskClient) -> None:
    with world.sessions() as session, session.begin():
        session.query(EpochKeyRow).one().not_after = database_now(session)

    assert register(client) == 503
    assert count(world, Patient) == 2
    with world.sessions() as session:
        assert accounts.account_by_email(session, world.secrets, "ada@example.com") is None


# --- Where mail is sent ---------------------------------------------------------------------------


@pytest.fixture
def mailing(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = another_app(world, database_url, tmp_path, mail_from="no-reply@derm.example")
    yield app
    with app.app_context():
        db.engine.dispose()


WITHOUT_ADDRESS = {name: value for name, value in REGISTRATION.items() if name != "email"}


@both_databases
def test_with_mail_the_address_is_proved_before_anything_else_is_asked(
    mailing: Flask, world: World
) -> None:
    client, channel = mailing.test_client(), KeptMail()
    asked = send(client, "/register", {"email": "ada@example.com"})
    assert "Check your mail" in words(asked.text)
    mailer_of(world, channel).send_due()
    link = channel.last_link()
    assert "ada@example.com" in client.get(link).text

    answer = send(client, link, WITHOUT_ADDRESS)

    assert answer.location == "/cases"
    assert client.get("/cases").status_code == 200
    assert client.get(link).status_code == 404, "the link works once"
    with world.sessions() as session:
        assert accounts.account_by_email(session, world.secrets, "ada@example.com") is not None


def test_with_mail_nobody_learns_who_has_an_account(mailing: Flask, world: World) -> None:
    names = ("alice", "nobody")
    pages = [
        send(mailing.test_client(), "/register", {"email": f"{name}@example.org"}) for name in names
    ]

    assert {one.status_code for one in pages} == {200}
    texts = {one.text.replace(name, "") for one, name in zip(pages, names, strict=True)}
    assert len(texts) == 1
    assert count(world, Account) == 7, "the cast and nobody else"
    channel = KeptMail()
    mailer_of(world, channel).send_due()
    links = {address: "http" in message.text for address, message in channel.sent}
    assert links == {"alice@example.org": False, "nobody@example.org": True}


def test_a_first_browser_is_no_news_but_a_second_one_is(
    app: Flask, world: World, client: FlaskClient
) -> None:
    def told() -> int:
        with world.sessions() as session:
            query = select(Notice).where(Notice.kind == NoticeKind.NEW_DEVICE)
            return len(session.scalars(query).all())

    form = {"email": REGISTRATION["email"], "password": REGISTRATION["password"]}
    send(client, "/register", REGISTRATION)
    send(client, "/sign-out", {}, page="/account")
    send(client, "/sign-in", form)
    assert told() == 0

    send(app.test_client(), "/sign-in", form)

    assert told() == 1
    assert len(client.get_cookie("dermqueue-browser").value) >= 43


def clinic_of(world: World, email: str) -> str | None:
    with world.sessions() as session:
        account = accounts.account_by_email(session, world.secrets, email)
        return account.clinic_id if account else None


def test_a_new_patient_joins_the_clinic_that_they_chose(world: World, client: FlaskClient) -> None:
    assert register(client, clinic="clinic-2") == 302

    assert clinic_of(world, "ada@example.com") == world.other_clinic_id


@pytest.mark.parametrize("slug", ["", "nowhere", "clinic-2"])
def test_without_an_open_clinic_chosen_nobody_registers(
    world: World, client: FlaskClient, slug: str
) -> None:
    with world.sessions() as session, session.begin():
        clinics.create(session, name="Third", phone="3", time_zone="UTC", slug="third")
        clinics.close(session, session.get_one(Clinic, world.other_clinic_id))

    answer = send(client, "/register", {**REGISTRATION, "clinic": slug})

    assert answer.status_code == 422
    assert "Choose your clinic." in answer.text
    assert "Clinic 2" not in answer.text
    assert clinic_of(world, "ada@example.com") is None


def test_the_clinic_that_a_browser_came_by_is_chosen_beforehand(client: FlaskClient) -> None:
    assert 'value="clinic-2" selected' not in client.get("/register").text
    client.get("/c/clinic-2")
    assert 'value="clinic-2" selected' in client.get("/register").text


def test_where_only_one_clinic_is_open_nobody_is_asked(world: World, client: FlaskClient) -> None:
    with world.sessions() as session, session.begin():
        clinics.close(session, session.get_one(Clinic, world.other_clinic_id))

    assert "Your clinic" not in client.get("/register").text
    assert register(client, clinic="") == 302
    assert clinic_of(world, "ada@example.com") == world.clinic_id


def test_where_no_clinic_is_open_nobody_registers(world: World, client: FlaskClient) -> None:
    with world.sessions() as session, session.begin():
        for clinic in clinics.every(session):
            clinics.close(session, clinic)

    answer = client.get("/register")
    assert answer.status_code == 503
    assert "No clinic takes new patients" in answer.text
