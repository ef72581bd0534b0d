"""Second reads for who gives them: what they see before, while and after they answer."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records.db import database_now
from clinic.records.models import SecondRead
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import ask_for_pictures, entries, object_of, table_bytes, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
OPINION = {
    "diagnosis": "mel",
    "second": "nv",
    "confidence": "medium",
    "plan": "biopsy",
    "note": "A quagga pattern at the edge.",
}


@pytest.fixture
def dan(signed_in: SignedIn) -> BrowserSession:
    return signed_in("dan")


@pytest.fixture
def case(world: World) -> str:
    world.analyst = FakeAnalyst(top="bcc")
    found = world.first_read(world.alice, world.bob)
    world.note(found, world.bob, "A secret okapi note.")
    return found


@pytest.fixture
def read_id(world: World, case: str) -> str:
    return world.ask_second(case, world.bob, of=world.dan)


def change(world: World, read_id: str, **values: object) -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(SecondRead, read_id)
        for name, value in values.items():
            setattr(row, name, value)


def lapse(world: World, read_id: str) -> None:
    with world.sessions() as session:
        past = database_now(session) - timedelta(minutes=1)
    change(world, read_id, reader_until=past)


def kinds(browser: BrowserSession, case: str) -> set[str]:
    asked = ask_for_pictures(browser.client, browser.csrf_token(), case)
    if asked.status_code != 202:
        return set()
    return {one["type"] for one in browser.get(asked.json["url"]).json["objects"]}


def test_the_list_tells_what_is_asked_of_me_and_what_i_asked(
    dan: BrowserSession, signed_in: SignedIn, read_id: str
) -> None:
    page = words(dan.get("/second-reads").text)
    assert "Reader Bob" in page
    assert read_id in dan.get("/second-reads").text
    bobs = signed_in("bob").get("/second-reads").text
    assert f"/second-reads/{read_id}" not in bobs
    assert "Reader Dan" in words(bobs)
    assert "Second reads 1" in words(dan.get("/review").text)
    assert "Second reads 0" in words(signed_in("bob").get("/review").text)


def test_before_it_is_taken_nothing_personal_is_open(
    dan: BrowserSession, case: str, read_id: str
) -> None:
    answer = dan.get(f"/second-reads/{read_id}")
    assert answer.status_code == 200
    page = words(answer.text)
    assert "Read this case" in page
    for hidden in ("52 years", "Is this a nevus?", "7-point score", "okapi"):
        assert hidden not in page
    assert "data-grant" not in answer.text
    assert kinds(dan, case) == set()


def test_a_blind_reader_sees_the_case_and_the_question_and_no_opinion(
    world: World, dan: BrowserSession, case: str, read_id: str
) -> None:
    heatmap = object_of(world, case, ObjectKind.HEATMAP)
    dan.post(f"/second-reads/{read_id}/take")

    page = dan.get(f"/second-reads/{read_id}").text
    assert "Is this a nevus?" in page
    assert "52 years" in page
    assert "Store my opinion" in page
    for hidden in ("okapi", "What others think", "Computer's view", "fake-1", "82 in 100"):
        assert hidden not in page
    assert kinds(dan, case) == {"rendition"}
    assert dan.get(f"/objects/{heatmap}").status_code == 403
    for path in ("sign", "first-read", "retake", "release", "notes", "messages"):
        assert dan.post(f"/review/{case}/{path}").status_code == 403
    assert dan.get(f"/review/{case}/messages").status_code == 403


def test_a_second_reader_compares_with_earlier_visits_while_they_read(
    world: World, dan: BrowserSession
) -> None:
    earlier = world.signed(world.alice, world.bob)
    later = world.first_read(world.alice, world.bob)
    read_id = world.ask_second(later, world.bob, of=world.dan)
    assert kinds(dan, earlier) == set()

    dan.post(f"/second-reads/{read_id}/take")
    assert earlier in dan.get(f"/second-reads/{read_id}").text
    assert kinds(dan, earlier) == {"rendition"}

    lapse(world, read_id)
    assert kinds(dan, earlier) == set()


def test_an_open_reader_sees_what_others_think_but_not_yet_the_computers_view(
    world: World, dan: BrowserSession, case: str, read_id: str
) -> None:
    change(world, read_id, blind=False)
    dan.post(f"/second-reads/{read_id}/take")

    page = dan.get(f"/second-reads/{read_id}").text
    assert "okapi" in page
    assert "First reader: Melanocytic nevus" in words(page).replace("  ", " ")
    assert "Computer's view" not in page.replace("The computer's view", "")
    assert kinds(dan, case) == {"rendition"}


def test_an_opinion_is_stored_sealed_and_opens_what_others_think(
    world: World, dan: BrowserSession, case: str, read_id: str
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    answer = dan.post(f"/second-reads/{read_id}/record", OPINION)

    assert answer.location == f"/second-reads/{read_id}"
    with world.sessions() as session:
        row = session.get_one(SecondRead, read_id)
        assert (row.state, row.differential, row.plan) == ("read", ["mel", "nv"], "biopsy")
        assert row.confidence == "medium"
    assert b"quagga" not in table_bytes(world)
    page = dan.get(f"/second-reads/{read_id}").text
    for shown in ("quagga", "okapi", "What others think", "Computer's view"):
        assert shown in page
    assert kinds(dan, case) == {"rendition", "heatmap"}
    (entry,) = entries(world, AuditAction.SECOND_READ_RECORDED)
    assert (entry.submission_id, entry.detail) == (case, "blind")


def test_the_case_closes_again_for_a_second_reader(
    world: World, dan: BrowserSession, case: str, read_id: str
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    dan.post(f"/second-reads/{read_id}/record", OPINION)
    lapse(world, read_id)

    page = dan.get(f"/second-reads/{read_id}")
    assert page.status_code == 200
    assert "quagga" not in page.text
    assert "52 years" not in page.text
    assert kinds(dan, case) == set()


@pytest.mark.parametrize(
    "changed",
    [
        {"diagnosis": ""},
        {"diagnosis": "zoster"},
        {"plan": "second_opinion"},
        {"confidence": ""},
        {"second": "", "third": "nv"},
        {"second": "mel"},
        {"note": "x" * 2001},
    ],
)
def test_an_opinion_that_is_not_complete_is_not_stored_and_stays_in_the_form(
    world: World, dan: BrowserSession, read_id: str, changed: dict[str, str]
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    answer = dan.post(f"/second-reads/{read_id}/record", {**OPINION, **changed})
    assert answer.status_code == 422
    if "note" not in changed:
        assert "quagga" in answer.text
    with world.sessions() as session:
        assert session.get_one(SecondRead, read_id).state == "open"


def test_after_a_lease_that_ran_out_the_opinion_is_still_stored(
    world: World, dan: BrowserSession, read_id: str
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    lapse(world, read_id)
    assert "Read this case" in dan.get(f"/second-reads/{read_id}").text
    assert dan.post(f"/second-reads/{read_id}/record", OPINION).status_code == 302


def test_what_was_taken_over_is_not_stored_and_the_words_are_given_back(
    world: World, dan: BrowserSession, read_id: str
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    change(world, read_id, reader_id=world.bob.account_id)

    answer = dan.post(f"/second-reads/{read_id}/record", OPINION)
    assert answer.status_code == 409
    assert "quagga" in answer.text
    assert "Nothing was stored" in answer.text


def test_from_a_second_tab_nothing_is_stored_twice(dan: BrowserSession, read_id: str) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    dan.post(f"/second-reads/{read_id}/record", OPINION)
    again = dan.post(f"/second-reads/{read_id}/record", {**OPINION, "diagnosis": "nv"})
    assert again.status_code == 409
    assert "quagga" in again.text


def test_it_is_given_back_with_a_reason(
    world: World, dan: BrowserSession, case: str, read_id: str
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    dan.post(f"/second-reads/{read_id}/give-back", {"reason": ""})
    assert kinds(dan, case) == {"rendition"}
    dan.post(f"/second-reads/{read_id}/give-back", {"reason": "conflict"})
    assert kinds(dan, case) == set()
    (entry,) = entries(world, AuditAction.SECOND_READ_GIVEN_BACK)
    assert entry.detail == "conflict"


def test_of_a_signed_case_a_blind_reader_sees_neither_finding_nor_letter(
    world: World, dan: BrowserSession
) -> None:
    case = world.signed(world.alice, world.bob)
    read_id = world.ask_second(case, world.bob)
    dan.post(f"/second-reads/{read_id}/take")

    page = dan.get(f"/second-reads/{read_id}").text
    assert "Store my opinion" in page
    assert "This spot is harmless" not in page
    assert "A clinical note" not in page
    assert dan.get(f"/review/{case}").status_code == 403


def test_a_patient_can_see_who_read_the_case_a_second_time(
    signed_in: SignedIn, dan: BrowserSession, read_id: str
) -> None:
    dan.post(f"/second-reads/{read_id}/take")
    dan.post(f"/second-reads/{read_id}/record", OPINION)
    page = words(signed_in("alice").get("/my-record/access").text)
    assert "Reader Dan" in page
    assert "wrote down a second opinion" in page


def test_of_an_erased_patient_nothing_is_left_to_read(
    world: World, dan: BrowserSession, read_id: str
) -> None:
    world.eraser.erase(world.alice.patient_id or "", actor="test")
    assert dan.get(f"/second-reads/{read_id}").status_code == 404
    assert dan.post(f"/second-reads/{read_id}/record", OPINION).status_code == 404
    with world.sessions() as session:
        assert session.query(SecondRead).count() == 0
