"""The people of the clinic: invited, disabled, given another role; audited and proved afresh."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.one_time_link import INVITATION_LIFE, digest
from clinic.records import accounts, invitations
from clinic.records.db import database_now
from clinic.records.models import Account, Invitation, Notice
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, count, entries, forget_proofs, send, token_of, words
from tests.world import PASSWORD, World

SignedIn = Callable[[str], BrowserSession]
LINK = re.compile(r"http://localhost(/join/[\w-]+)")
JOINED = {
    "given_name": "Dora",
    "family_name": "Derm",
    "registration_number": "GMC-1",
    "email": "dora@example.org",
    "password": "velvet otter cargo",
}


def account(world: World, name: str) -> Account:
    with world.sessions() as session:
        return session.get_one(Account, world.people[name].account_id)


def invited(erin: BrowserSession, role: str) -> str:
    """The path of an invitation that was made on the page."""
    answer = erin.post("/people/invite", {"role": role})
    found = LINK.search(answer.text)
    assert found is not None, words(answer.text)
    return found.group(1)


# --- Invitations ----------------------------------------------------------------------------------


@both_databases
def test_whoever_is_invited_chooses_a_password_and_sets_up_a_second_factor(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    link, client = invited(signed_in("erin"), "dermatologist"), app.test_client()
    assert "You were invited as dermatologist" in words(client.get(link).text)

    answer = send(client, link, JOINED)

    assert answer.location == "/second-factor/new"
    assert client.get("/review").location == "/second-factor", "not before the second factor"
    with world.sessions() as session:
        dora = accounts.account_by_email(session, world.secrets, "dora@example.org")
        assert (dora.role, dora.clinic_id) == ("dermatologist", world.clinic_id)
        assert dora.registration_number == "GMC-1"
    assert [one.detail for one in entries(world, AuditAction.PERSON_INVITED)] == ["dermatologist"]
    assert [one.actor for one in entries(world, AuditAction.ACCOUNT_CREATED)] == [dora.id]


def test_an_invitation_works_once_and_its_row_holds_only_a_hash(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    link = invited(signed_in("erin"), "administrator")
    late = app.test_client()
    late_token = token_of(late, link)
    with world.sessions() as session:
        row = session.scalars(select(Invitation)).one()
        left = row.expires_at - database_now(session)
    assert row.token_hash == digest(link.removeprefix("/join/"))
    assert timedelta(0) < left <= INVITATION_LIFE == timedelta(hours=24)

    send(app.test_client(), link, JOINED)
    again = late.post(link, data={**JOINED, "email": "eve@example.org", "csrf_token": late_token})

    assert again.status_code == late.get(link).status_code == 404
    assert "Ask for a new one." in words(again.text)
    assert count(world, Account) == 8


def test_an_old_or_withdrawn_invitation_is_dead(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    erin = signed_in("erin")
    old, withdrawn = (invited(erin, "dermatologist") for _ in range(2))
    with world.sessions() as session, session.begin():
        row = invitations.find(session, old.removeprefix("/join/"))
        row.expires_at = database_now(session) - timedelta(seconds=1)
        gone = invitations.find(session, withdrawn.removeprefix("/join/")).id
    path = f"/people/invitations/{gone}/withdraw"

    assert signed_in("frank").post(path).status_code == 403
    assert erin.post(path).location == "/people"
    assert erin.post(path).status_code == 404
    for link in (old, withdrawn, "/join/" + "x" * 43):
        assert app.test_client().get(link).status_code == 404


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"registration_number": ""}, "Enter your registration number."),
        ({"password": "password123"}, "Many people use it"),
        ({"password": "dora derm 2026"}, "Leave out your name"),
        ({"email": "alice@example.org"}, "This address has an account already."),
        ({"given_name": ""}, "Enter your first name."),
    ],
)
def test_a_wrong_form_does_not_use_the_invitation_up(
    app: Flask, world: World, signed_in: SignedIn, changed: dict[str, str], said: str
) -> None:
    link, client = invited(signed_in("erin"), "dermatologist"), app.test_client()

    answer = send(client, link, {**JOINED, **changed})

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert count(world, Account) == 7
    assert send(client, link, JOINED).status_code == 302


def test_patients_are_not_invited_and_no_role_is_chosen_by_the_guest(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    erin = signed_in("erin")
    for role in ("patient", "root", ""):
        assert erin.post("/people/invite", {"role": role}).status_code == 422
    link = invited(erin, "dermatologist")

    send(app.test_client(), link, {**JOINED, "role": "administrator"})

    with world.sessions() as session:
        dora = accounts.account_by_email(session, world.secrets, "dora@example.org")
    assert dora.role == "dermatologist"


def test_every_role_of_the_staff_can_be_invited(signed_in: SignedIn) -> None:
    erin = signed_in("erin")

    assert all(invited(erin, role).startswith("/join/") for role in sorted(STAFF))


# --- People ---------------------------------------------------------------------------------------


def test_the_page_lists_the_own_clinics_staff_and_nobody_else(
    world: World, signed_in: SignedIn
) -> None:
    page = words(signed_in("erin").get("/people").text)

    assert all(name in page for name in ("Reader Bob", "Reader Dan", "Reader Erin (you)"))
    assert "Frank" not in page, "of another clinic"
    assert "Alice" not in page, "a patient"
    assert [one.detail for one in entries(world, AuditAction.PEOPLE_LISTED)] == ["4 people"]


def test_no_page_about_people_has_a_field_for_a_password(world: World, signed_in: SignedIn) -> None:
    erin = signed_in("erin")
    pages = [erin.get("/people").text, erin.get(f"/people/{world.bob.account_id}").text]

    assert not [page for page in pages if re.search(r'(type|name)="[^"]*password', page)]


@both_databases
def test_a_disabled_person_is_out_at_once_until_enabled(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    erin, bob = signed_in("erin"), signed_in("bob")
    person, form = f"/people/{world.bob.account_id}", {"email": "bob@example.org"}

    erin.post(f"{person}/disable")
    assert bob.get("/review").location.startswith("/sign-in")
    refused = send(app.test_client(), "/sign-in", {**form, "password": PASSWORD})
    erin.post(f"{person}/enable")
    again = send(app.test_client(), "/sign-in", {**form, "password": PASSWORD})

    assert (refused.status_code, again.status_code) == (422, 302)
    assert bob.get("/review").location.startswith("/sign-in"), "the old session stays dead"
    for action in (AuditAction.ACCOUNT_DISABLED, AuditAction.ACCOUNT_ENABLED):
        (entry,) = entries(world, action)
        assert (entry.actor, entry.detail) == (world.erin.account_id, world.bob.account_id)


def test_another_role_ends_the_sessions_of_the_old_one(world: World, signed_in: SignedIn) -> None:
    erin, bob = signed_in("erin"), signed_in("bob")

    erin.post(f"/people/{world.bob.account_id}/role", {"role": "administrator"})

    assert bob.get("/review").location.startswith("/sign-in")
    assert account(world, "bob").role == Role.ADMINISTRATOR
    (entry,) = entries(world, AuditAction.ROLE_CHANGED)
    assert entry.detail == f"{world.bob.account_id} administrator"


@pytest.mark.parametrize(
    ("name", "role", "said"),
    [
        ("alice", "administrator", "A patient stays a patient."),
        ("bob", "patient", ""),
        ("bob", "root", ""),
    ],
)
def test_a_role_that_does_not_fit_is_refused(
    world: World, signed_in: SignedIn, name: str, role: str, said: str
) -> None:
    before = account(world, name).role
    path = f"/people/{world.people[name].account_id}/role"

    answer = signed_in("erin").post(path, {"role": role})

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert account(world, name).role == before


def test_a_dermatologist_needs_a_registration_number(world: World, signed_in: SignedIn) -> None:
    gina = world.add_person("gina", Role.ADMINISTRATOR)
    erin, path = signed_in("erin"), f"/people/{gina.account_id}/role"

    assert erin.post(path, {"role": "dermatologist"}).status_code == 422
    answer = erin.post(path, {"role": "dermatologist", "registration_number": "GMC-2"})

    assert answer.status_code == 302
    assert account(world, "gina").registration_number == "GMC-2"


def test_a_lost_second_factor_is_reset_without_touching_the_password(
    app: Flask, world: World, signed_in: SignedIn
) -> None:
    erin, bob = signed_in("erin"), signed_in("bob")

    erin.post(f"/people/{world.bob.account_id}/second-factor/reset")

    assert bob.get("/review").location.startswith("/sign-in")
    client = app.test_client()
    send(client, "/sign-in", {"email": "bob@example.org", "password": PASSWORD})
    assert client.get("/second-factor").location == "/second-factor/new"
    with world.sessions() as session:
        mine = Notice.account_id == world.bob.account_id
        kinds = session.scalars(select(Notice.kind).where(mine)).all()
    assert NoticeKind.FACTOR_REMOVED in kinds
    assert len(entries(world, AuditAction.SECOND_FACTOR_RESET)) == 1


def test_a_patient_is_found_by_the_whole_address_and_helped(
    world: World, signed_in: SignedIn
) -> None:
    erin, alice = signed_in("erin"), signed_in("alice")

    found = erin.post("/people/find", {"email": "ALICE@example.org"})
    erin.post(f"{found.location}/sign-out")

    assert found.location == f"/people/{world.alice.account_id}"
    assert "Alice" not in erin.get(found.location).text, "their name is sealed"
    assert alice.get("/cases").location.startswith("/sign-in")
    for email in ("frank@example.org", "nobody@example.org"):
        assert erin.post("/people/find", {"email": email}).status_code == 422


ACTS = ["disable", "enable", "role", "sign-out", "second-factor/reset"]


@pytest.mark.parametrize("act", ACTS)
def test_nobody_acts_on_another_clinics_people_or_on_themselves(
    world: World, signed_in: SignedIn, act: str
) -> None:
    erin, franks = signed_in("erin"), signed_in("frank")
    form = {"role": "administrator"}

    assert erin.post(f"/people/{world.frank.account_id}/{act}", form).status_code == 404
    assert erin.post(f"/people/{world.erin.account_id}/{act}", form).status_code == 409
    assert franks.get("/review").status_code == 200
    assert account(world, "frank").role == Role.DERMATOLOGIST


@pytest.mark.parametrize("act", ACTS)
def test_each_act_needs_a_fresh_proof(world: World, signed_in: SignedIn, act: str) -> None:
    erin = signed_in("erin")
    forget_proofs(world)
    person = f"/people/{world.bob.account_id}"

    assert erin.post(f"{person}/{act}").location == f"/step-up?next={person}"
    assert erin.post("/people/invite").location == "/step-up?next=/people"
