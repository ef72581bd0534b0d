"""Messages in the browser: sealed, both ways, and nothing that was written is lost."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from clinic.audit_event import AuditAction
from clinic.messaging import LONGEST, OPEN_AFTER_SIGNING
from clinic.records.models import CaseMessage, Notice, SignedReport
from tests.browser_session import BrowserSession
from tests.portal_tools import count, entries, table_bytes, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def alice(signed_in: SignedIn) -> BrowserSession:
    return signed_in("alice")


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.signed(world.alice, world.bob)


def test_a_message_goes_sealed_to_the_reader_and_the_answer_back(
    world: World, alice: BrowserSession, bob: BrowserSession, case: str
) -> None:
    sent = alice.post(f"/cases/{case}/messages", {"message": "Can I swim with a tapir?"})
    assert sent.location == f"/cases/{case}/messages"
    assert b"tapir" not in table_bytes(world)
    assert "Messages 1" in words(bob.get("/review").text)
    assert "1 new" in words(bob.get(f"/review/{case}").text)

    thread = words(bob.get(f"/review/{case}/messages").text)
    assert "Can I swim with a tapir?" in thread
    assert "Messages 1" in words(bob.get("/review").text), "read, and not answered"
    bob.post(f"/review/{case}/messages", {"message": "Yes, you can."})
    assert "Messages 0" in words(bob.get("/review").text)

    assert "1 new message" in words(alice.get("/cases").text)
    assert "1 new" in words(alice.get(f"/cases/{case}").text)
    page = words(alice.get(f"/cases/{case}/messages").text)
    assert "Yes, you can." in page
    assert "Reader Bob" in page
    assert "1 new message" not in words(alice.get("/cases").text)
    details = [one.detail for one in entries(world, AuditAction.MESSAGE_SENT)]
    assert details == ["", ""]


def test_the_mail_about_a_message_holds_nothing_of_it(
    world: World, alice: BrowserSession, case: str
) -> None:
    alice.post(f"/cases/{case}/messages", {"message": "tapir"})
    with world.sessions() as session:
        (notice,) = session.scalars(select(Notice))
        assert (notice.kind, notice.account_id) == ("case message", world.bob.account_id)


@pytest.mark.parametrize("message", ["", "  ", "x" * (LONGEST + 1)])
def test_no_words_or_too_many_are_not_sent_and_stay_in_the_form(
    world: World, alice: BrowserSession, bob: BrowserSession, case: str, message: str
) -> None:
    for browser, path in ((alice, f"/cases/{case}"), (bob, f"/review/{case}")):
        answer = browser.post(f"{path}/messages", {"message": message})
        assert answer.status_code == 422
        assert message.strip() in answer.text
    assert count(world, CaseMessage) == 0


def test_what_is_written_too_late_is_not_sent_and_given_back(
    world: World, alice: BrowserSession, case: str
) -> None:
    assert "You can write to us until" in words(alice.get(f"/cases/{case}/messages").text)
    with world.sessions() as session, session.begin():
        session.scalars(select(SignedReport)).one().signed_at -= OPEN_AFTER_SIGNING

    answer = alice.post(f"/cases/{case}/messages", {"message": "One more tapir?"})
    assert answer.status_code == 409
    assert "Your message was not sent" in words(answer.text)
    assert "One more tapir?" in answer.text
    assert "This case is closed" in words(alice.get(f"/cases/{case}/messages").text)


def test_only_who_answers_the_patient_reads_the_messages(
    world: World, signed_in: SignedIn, case: str
) -> None:
    world.message(case, world.alice, "tapir")
    for name, path in (
        ("dan", f"/review/{case}/messages"),
        ("carol", f"/cases/{case}/messages"),
        ("erin", f"/review/{case}/messages"),
    ):
        answer = signed_in(name).get(path)
        assert answer.status_code == 403
        assert "tapir" not in answer.text
    assert "tapir" not in signed_in("dan").get("/messages").text


def test_messages_left_lying_are_taken_over_from_the_list(
    world: World, signed_in: SignedIn, case: str
) -> None:
    world.message(case, world.alice, "tapir")
    dan = signed_in("dan")
    assert dan.post(f"/review/{case}/messages/take").status_code == 409
    with world.sessions() as session, session.begin():
        one = session.scalars(select(CaseMessage)).one()
        one.answer_by = one.sent_at - OPEN_AFTER_SIGNING

    assert "Take over" in words(dan.get("/messages").text)
    taken = dan.post(f"/review/{case}/messages/take")
    assert taken.location == f"/review/{case}/messages"
    assert "tapir" in dan.get(taken.location).text
    assert signed_in("bob").get(f"/review/{case}/messages").status_code == 403


def test_while_the_patient_is_asked_for_photos_both_can_write(
    world: World, alice: BrowserSession, bob: BrowserSession
) -> None:
    case = world.claimed(world.alice, world.bob)
    bob.post(f"/review/{case}/retake", {"reasons": "blur"})
    alice.post(f"/cases/{case}/messages", {"message": "My camera broke, tapir."})

    assert "tapir" in bob.get(f"/review/{case}/messages").text
    answer = bob.post(f"/review/{case}/messages", {"message": "Come in."})
    assert answer.status_code == 302
    assert bob.post(f"/review/{case}/notes", {"note": "x"}).status_code == 403


def test_the_words_of_a_message_are_shown_and_never_run(
    alice: BrowserSession, bob: BrowserSession, case: str
) -> None:
    alice.post(f"/cases/{case}/messages", {"message": "<script>alert(1)</script>"})
    page = bob.get(f"/review/{case}/messages").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


def test_a_message_about_an_erased_case_is_answered_as_erased(
    world: World, bob: BrowserSession, case: str
) -> None:
    world.message(case, world.alice, "tapir")
    world.eraser.erase(world.alice.patient_id or "", actor="test")
    assert bob.get(f"/review/{case}/messages").status_code == 410
    assert count(world, CaseMessage) == 0


def test_a_reader_says_that_what_they_read_needs_no_answer(
    world: World, alice: BrowserSession, bob: BrowserSession, case: str
) -> None:
    alice.post(f"/cases/{case}/messages", {"message": "Thank you."})
    path = f"/review/{case}/messages"
    assert bob.post(f"{path}/no-answer").status_code == 409, "nobody has read it"
    assert "No answer needed" in bob.get(path).text

    assert bob.post(f"{path}/no-answer").location == "/messages"

    assert "Every message is answered" in bob.get("/messages").text
    assert "No answer needed" not in bob.get(path).text
    (entry,) = entries(world, AuditAction.MESSAGES_NEED_NO_ANSWER)
    assert (entry.actor, entry.submission_id) == (world.bob.account_id, case)
    assert "saw no need to answer your messages" in words(alice.get("/my-record/access").text)
    alice.post(f"/cases/{case}/messages", {"message": "One more thing."})
    assert "Messages 1" in words(bob.get("/review").text)
    assert bob.post(f"{path}/no-answer").status_code == 409, "the new one was not read"
