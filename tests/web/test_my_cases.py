"""What a patient sees: the status first, the doctor's words after signing, who looked in."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from clinic.audit_event import AuditAction
from clinic.records.db import database_now
from clinic.submission import CaseState
from clinic.urgency import place_of
from ml.labels import CLASSES, CLINICAL_NAMES
from ml.triage import Urgency
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import both_databases, change_row, entries, row_of, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]

# What the computer says: its classes, its numbers, its urgency. None of it is for the patient.
COMPUTER_WORDS = {
    *(name.lower() for name in CLINICAL_NAMES.values()),
    *("melanom", "carcinoma", "nevus", "keratosis", "%", " in 100", "probabil", "malignant"),
    *("urgent", "suspicious", "routine", "fake-1", "heat map", "heatmap", "likely"),
}


@pytest.mark.parametrize("top", CLASSES)
def test_before_signing_no_page_says_what_the_computer_found(
    world: World, signed_in: SignedIn, top: str
) -> None:
    world.analyst = FakeAnalyst(top=top)
    case = world.first_read(world.alice, world.bob)
    alice = signed_in("alice")

    for path in (f"/cases/{case}", "/cases", "/my-record/access"):
        page = words(alice.get(path).text).lower()
        # A sentence for everybody, on every case alike, tells when to call a doctor at once.
        said = {word for word in COMPUTER_WORDS if word in page} - {"urgent"}
        assert said == set(), path
        assert not {word for word in (top, "dq-urgency", "mel ") if f" {word} " in page}, path


def test_the_urgency_changes_nothing_that_the_patient_sees(
    world: World, signed_in: SignedIn
) -> None:
    case, alice = world.screened(world.alice), signed_in("alice")
    pages = set()
    for urgency in Urgency:
        change_row(world, case, urgency=place_of(urgency))
        page = alice.get(f"/cases/{case}")
        pages.add(words(page.text))

    assert len(pages) == 1


@both_databases
def test_after_signing_the_patient_reads_the_doctors_words_and_who_signed(
    world: World, signed_in: SignedIn
) -> None:
    case, alice = world.first_read(world.alice, world.bob), signed_in("alice")
    assert "This spot is harmless." not in alice.get(f"/cases/{case}").text
    signed = world.signed(world.alice, world.bob)

    page = words(alice.get(f"/cases/{signed}").text)

    assert "This spot is harmless." in page
    assert "Reader Bob, registration REG-bob" in page
    assert "The doctor thinks this is harmless" in page
    assert "A computer helped to sort your photos." in page
    assert "A clinical note." not in page
    assert "%" not in page
    assert not [name for name in CLINICAL_NAMES.values() if name.lower() in page.lower()]
    assert [one.submission_id for one in entries(world, AuditAction.RESULT_READ)] == [signed]


def test_with_the_key_service_down_the_result_is_not_shown_and_the_page_says_when(
    world: World, signed_in: SignedIn
) -> None:
    case, alice = world.signed(world.alice, world.bob), signed_in("alice")
    world.hints.down = True

    answer = alice.get(f"/cases/{case}")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "20")
    assert "harmless" not in answer.text
    assert alice.get("/cases").status_code == 200


def test_the_dashboard_lists_own_cases_alone_with_state_and_promised_date(
    world: World, signed_in: SignedIn
) -> None:
    waiting, signed = world.screened(world.alice), world.signed(world.alice, world.bob)
    foreign = world.submit(world.carol)

    page = signed_in("alice").get("/cases").text

    assert f"/cases/{waiting}" in page
    assert f"/cases/{signed}" in page
    assert foreign not in page
    promised = row_of(world, waiting).due_at
    assert f"{promised.day} {promised:%B}" in words(page)


def test_a_late_case_says_whom_to_call(world: World, signed_in: SignedIn) -> None:
    case, alice = world.screened(world.alice), signed_in("alice")
    assert "Your answer is late" not in alice.get(f"/cases/{case}").text
    with world.sessions() as session:
        change_row(world, case, due_at=database_now(session) - timedelta(days=1))

    assert "Your answer is late" in alice.get(f"/cases/{case}").text


def test_every_state_of_a_case_has_its_page(world: World, signed_in: SignedIn) -> None:
    case, alice = world.screened(world.alice), signed_in("alice")
    change_row(world, case, retake_reason="Turn towards a window.")

    for state in (CaseState.RECEIVED, CaseState.AWAITING_REVIEW, CaseState.UNREADABLE):
        change_row(world, case, case_state=state)
        answer = alice.get(f"/cases/{case}")
        assert answer.status_code == 200
        assert ("Turn towards a window." in answer.text) == (state is CaseState.UNREADABLE)


def test_the_access_log_names_who_opened_the_record(world: World, signed_in: SignedIn) -> None:
    case, alice, bob = world.claimed(world.alice, world.bob), signed_in("alice"), signed_in("bob")
    bob.get(f"/review/{case}")
    signed_in("carol").get(f"/cases/{case}")
    alice.get(f"/cases/{case}")

    page = words(alice.get("/my-record/access").text)

    assert "Reader Bob" in page
    assert "read your case" in page
    assert "sorted your photos" in page
    assert "tried to open your record and was refused" in page
    assert "You" in page
    assert world.bob.account_id not in page
    assert world.carol.account_id not in page
    assert len(entries(world, AuditAction.ACCESS_LOG_READ)) == 1


def test_the_access_log_tells_of_an_emergency(world: World, signed_in: SignedIn) -> None:
    with world.sessions() as session, session.begin():
        world.auditor.record(
            session,
            AuditAction.EMERGENCY_ACCESS,
            "command line",
            clinic_id=world.clinic_id,
            patient_id=world.alice.patient_id,
        )
    page = words(signed_in("alice").get("/my-record/access").text)
    assert "A member of the clinic" in page
    assert "opened your case, two people together" in page
    assert "an emergency" in page


def test_the_access_log_of_another_patient_stays_apart(world: World, signed_in: SignedIn) -> None:
    case = world.claimed(world.alice, world.bob)
    signed_in("bob").get(f"/review/{case}")

    assert "Reader Bob" not in signed_in("carol").get("/my-record/access").text
