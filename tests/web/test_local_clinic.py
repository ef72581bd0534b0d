"""Which clinic a page speaks of, and whose clock it shows."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import login_user

from clinic.records import accounts, clinics
from clinic.records.models import Account, Clinic
from tests.browser_session import BrowserSession
from tests.portal_tools import words
from tests.world import World
from web.guard import SignedIn
from web.local_clinic import local

SUMMER_EVENING = datetime(2027, 7, 1, 23, 30, tzinfo=UTC)


def close(world: World, clinic_id: str) -> None:
    with world.sessions() as session, session.begin():
        clinics.close(session, session.get_one(Clinic, clinic_id))


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/London", "02 00:30"), ("Asia/Kolkata", "02 05:00")]
)
def test_a_person_sees_their_clinic_s_own_clock(
    app: Flask, world: World, zone: str, shown: str
) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Clinic, world.clinic_id).time_zone = zone
        token = accounts.start_login(
            session, session.get_one(Account, world.alice.account_id), second_factor=False
        )
        login = accounts.live_login(session, token)
        assert login is not None
        actor = accounts.actor_of(session, login)

    with app.test_request_context():
        login_user(SignedIn(token, login, actor))
        assert local(SUMMER_EVENING).strftime("%d %H:%M") == shown


def test_without_a_request_the_time_is_utc(app: Flask) -> None:
    with app.app_context():
        assert local(SUMMER_EVENING) == SUMMER_EVENING
        assert local(SUMMER_EVENING).tzinfo is UTC


def test_people_see_the_name_and_phone_of_their_own_clinic(
    world: World, signed_in: Callable[[str], BrowserSession]
) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Clinic, world.clinic_id).phone = "01632 960 001"
    for name in ("alice", "bob", "erin", "grace"):
        page = words(signed_in(name).get("/account").text)
        assert "Clinic 1" in page
        assert "01632 960 001" in page
        assert "Clinic 2" not in page
    assert "Clinic 2" in words(signed_in("frank").get("/account").text)


def test_who_came_by_a_clinic_s_address_reads_of_it_on_the_next_pages(client: FlaskClient) -> None:
    assert "Clinic 1" not in client.get("/help").text
    assert "Clinic 2" in client.get("/c/clinic-2").text
    assert "Clinic 2" in client.get("/help").text


def test_with_several_clinics_a_stranger_s_page_names_none(client: FlaskClient) -> None:
    page = words(client.get("/help").text)
    assert "the number on your letter" in page
    assert "Clinic" not in page.replace("Clinics", "")


def test_where_only_one_clinic_is_open_it_is_meant(world: World, client: FlaskClient) -> None:
    close(world, world.other_clinic_id)
    assert "Clinic 1" in words(client.get("/help").text)


@pytest.mark.parametrize("slug", ["nowhere", "clinic-2", "%2e%2e"])
def test_an_address_of_no_open_clinic_is_not_found_in_words(
    world: World, client: FlaskClient, slug: str
) -> None:
    close(world, world.other_clinic_id)
    answer = client.get(f"/c/{slug}")
    assert answer.status_code == 404
    assert "takes no new patients" in answer.text
