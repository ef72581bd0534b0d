"""A patient's consents on the account page: each for as long as they like, care too."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from clinic.consent import FOR_CARE, Purpose
from clinic.records import consents
from clinic.records.db import database_now
from clinic.records.models import Consent, Submission
from tests.browser_session import BrowserSession
from tests.portal_tools import as_file, change_row, count, row_of, words
from tests.web.test_upload import CASE
from tests.world import PHOTO, World

SignedIn = Callable[[str], BrowserSession]
BOTH = {"consent_ai": "y"}


@pytest.fixture
def alice(signed_in: SignedIn) -> BrowserSession:
    return signed_in("alice")


def rows(world: World, purpose: Purpose) -> list[Consent]:
    with world.sessions() as session:
        found = consents.history(session, world.alice.patient_id or "")
        return [one for one in found if one.purpose == purpose]


def permitted(world: World) -> set[str]:
    with world.sessions() as session:
        return consents.permitted_purposes(session, world.alice.patient_id or "")


def test_a_consent_can_be_given_for_some_years(world: World, alice: BrowserSession) -> None:
    alice.post("/account/consents", BOTH | {"consent_research": "y", "years_research": "2"})

    (given,) = rows(world, Purpose.RESEARCH)
    assert given.valid_until is not None
    length = given.valid_until - given.recorded_at
    assert timedelta(days=729) < length < timedelta(days=732)
    page = words(alice.get("/account").text)
    assert re.search(rf"Research Yes until \w+ \d+ \w+ {given.valid_until.year}", page)


def test_saving_the_page_unchanged_decides_nothing_anew(
    world: World, alice: BrowserSession
) -> None:
    alice.post("/account/consents", BOTH | {"consent_research": "y", "years_research": "5"})
    alice.post("/account/consents", BOTH | {"consent_research": "y"})

    (given,) = rows(world, Purpose.RESEARCH)
    assert given.valid_until is not None
    assert len(rows(world, Purpose.AI_ASSISTANCE)) == 1


def test_an_end_can_be_taken_away_again(world: World, alice: BrowserSession) -> None:
    alice.post("/account/consents", BOTH | {"consent_teaching": "y", "years_teaching": "1"})
    alice.post("/account/consents", BOTH | {"consent_teaching": "y", "years_teaching": "always"})

    first, second = rows(world, Purpose.TEACHING)
    assert first.valid_until is not None
    assert second.valid_until is None


def test_a_length_that_is_not_offered_is_refused(world: World, alice: BrowserSession) -> None:
    answer = alice.post("/account/consents", BOTH | {"years_ai": "99"})
    assert answer.status_code == 400
    assert len(rows(world, Purpose.AI_ASSISTANCE)) == 1


def test_every_decision_and_its_period_is_shown(alice: BrowserSession) -> None:
    alice.post("/account/consents", {})
    page = words(alice.get("/account").text)
    assert "No since" in page
    assert "Yes since" in page


def test_who_stops_care_sends_nothing_new_and_the_clinic_is_told(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    waiting = world.submit(world.alice)

    alice.post("/account/care", {"care": "stop"})

    assert not permitted(world) & FOR_CARE
    assert not row_of(world, waiting).ai_permitted
    photo = {"photo_close_up": as_file(PHOTO)}
    sent = alice.post("/cases/new", CASE | photo, content_type="multipart/form-data")
    assert (sent.status_code, count(world, Submission)) == (403, 1)
    told = words(signed_in("erin").get("/operations").text)
    assert "Patients who stopped their care here" in told
    assert re.search(r"DQ-\w{8} 1 ", told)


def test_who_stops_care_replaces_no_photos(world: World, alice: BrowserSession) -> None:
    case = world.screened(world.alice)
    change_row(world, case, case_state="unreadable", retake_reason="Not sharp.")
    alice.post("/account/care", {"care": "stop"})

    photo = {"submission_id": case, "photo_close_up": as_file(PHOTO)}
    sent = alice.post(f"/cases/{case}/photos", photo, content_type="multipart/form-data")

    assert sent.status_code == 403
    assert row_of(world, case).case_state == "unreadable"


def test_care_can_go_on_again(world: World, alice: BrowserSession) -> None:
    alice.post("/account/care", {"care": "stop"})
    assert "Go on with my care here" in alice.get("/account").text
    alice.post("/account/care", {"care": "go_on"})
    assert permitted(world) >= FOR_CARE
    with world.sessions() as session:
        assert database_now(session) > rows(world, Purpose.CARE)[-1].recorded_at
