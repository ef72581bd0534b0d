"""Asking for a second opinion at the desk, and what holds a signature back."""

from collections.abc import Callable
from typing import Any

import pytest

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.double_read import ReadReason, Rule
from clinic.keeper_protocol import ObjectKind
from clinic.records import adjudication, double_read_rules, sealed_objects, second_reads
from clinic.records.models import SecondRead, SignedReport
from clinic.submission import CaseState
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import DECISION, FIRST_READ, count, entries, row_of, table_bytes, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
QUESTION = {"colleague": "any", "mode": "blind", "question": "Is this a zebrafish nevus?"}


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.first_read(world.alice, world.bob)


def sign(browser: BrowserSession, case: str, **changed: str) -> Any:
    return browser.post(f"/review/{case}/sign", {**DECISION, "action": "sign", **changed})


OVERRIDE = {"agreement": "override", "override_reason": "history"}


def reads(world: World) -> list[SecondRead]:
    with world.sessions() as session:
        return list(session.query(SecondRead))


def set_rule(world: World, rule: Rule) -> None:
    with world.sessions() as session, session.begin():
        double_read_rules.set_rule(session, world.clinic_id, rule)


def test_a_question_goes_to_the_pool_sealed_and_the_case_shows_it(
    world: World, bob: BrowserSession, case: str
) -> None:
    page = bob.get(f"/review/{case}/second-opinion")
    assert page.status_code == 200
    assert "Reader Dan" in words(page.text)
    assert "Reader Bob</option>" not in page.text

    answer = bob.post(f"/review/{case}/second-opinion", QUESTION)

    assert answer.location == f"/review/{case}"
    (asked,) = reads(world)
    assert (asked.asked_by, asked.asked_of) == (world.bob.account_id, None)
    assert (asked.blind, asked.holds, asked.first_diagnosis) == (True, True, "nv")
    assert b"zebrafish" not in table_bytes(world)
    assert "zebrafish" in bob.get(f"/review/{case}").text
    (entry,) = entries(world, AuditAction.SECOND_READ_ASKED)
    assert (entry.submission_id, entry.detail) == (case, "blind, pool")


def test_a_named_colleague_is_asked_openly(world: World, bob: BrowserSession, case: str) -> None:
    to_dan = {"colleague": world.dan.account_id, "mode": "open"}
    bob.post(f"/review/{case}/second-opinion", {**QUESTION, **to_dan})
    (asked,) = reads(world)
    assert (asked.asked_of, asked.blind) == (world.dan.account_id, False)


@pytest.mark.parametrize(
    "changed",
    [
        {"question": ""},
        {"question": "x" * 1001},
        {"mode": "deaf"},
        {"colleague": "somebody"},
        {"colleague": "0" * 32},
    ],
)
def test_a_question_that_is_not_complete_is_asked_of_nobody_and_stays_in_the_form(
    world: World, bob: BrowserSession, case: str, changed: dict[str, str]
) -> None:
    answer = bob.post(f"/review/{case}/second-opinion", {**QUESTION, **changed})
    assert answer.status_code == 422
    assert reads(world) == []
    if "question" not in changed:
        assert "zebrafish" in answer.text


def test_nobody_of_another_clinic_is_asked(world: World, bob: BrowserSession, case: str) -> None:
    far = {**QUESTION, "colleague": world.frank.account_id}
    assert bob.post(f"/review/{case}/second-opinion", far).status_code == 422


def test_the_own_first_read_comes_before_the_question(world: World, bob: BrowserSession) -> None:
    case = world.claimed(world.alice, world.bob)
    answer = bob.post(f"/review/{case}/second-opinion", QUESTION)
    assert answer.location == f"/review/{case}"
    assert reads(world) == []
    assert "Save your own first read" in bob.get(f"/review/{case}").text


def test_from_a_second_tab_nothing_is_asked_twice_and_the_words_stay(
    world: World, bob: BrowserSession, case: str
) -> None:
    bob.post(f"/review/{case}/second-opinion", QUESTION)
    again = bob.post(f"/review/{case}/second-opinion", QUESTION)
    assert again.status_code == 409
    assert "zebrafish" in again.text
    assert "open already" in again.text
    assert len(reads(world)) == 1


def test_the_asker_cannot_sign_before_the_answer_and_can_take_the_question_back(
    world: World, bob: BrowserSession, case: str
) -> None:
    read_id = world.ask_second(case, world.bob)
    held = sign(bob, case)
    assert "has not answered yet" in words(held.text)
    assert DECISION["patient_text"] in held.text
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW

    bob.post(f"/second-reads/{read_id}/withdraw", {"withdrawal": "too_slow"})
    assert sign(bob, case).location == f"/review/{case}"


def test_a_question_is_taken_back_with_a_reason_and_only_by_its_asker(
    world: World, signed_in: SignedIn, bob: BrowserSession, case: str
) -> None:
    read_id = world.ask_second(case, world.bob)
    dan = signed_in("dan")
    assert (
        dan.post(f"/second-reads/{read_id}/withdraw", {"withdrawal": "mistake"}).status_code == 403
    )
    bob.post(f"/second-reads/{read_id}/withdraw", {"withdrawal": ""})
    assert reads(world)[0].state == "open"
    bob.post(f"/second-reads/{read_id}/withdraw", {"withdrawal": "mistake"})
    assert reads(world)[0].state == "withdrawn"
    gone = bob.post(f"/second-reads/{read_id}/withdraw", {"withdrawal": "mistake"})
    assert gone.status_code == 409


def test_the_plan_second_opinion_leads_to_the_question(bob: BrowserSession, case: str) -> None:
    answer = sign(bob, case, plan="second_opinion")
    assert answer.location == f"/review/{case}/second-opinion"


def test_where_first_read_and_computer_differ_a_second_reader_comes_before_the_letter(
    world: World, bob: BrowserSession, signed_in: SignedIn
) -> None:
    world.analyst = FakeAnalyst(top="mel")
    case = world.first_read(world.alice, world.bob)

    held = sign(bob, case, **OVERRIDE)

    assert "a second dermatologist reads this case" in words(held.text)
    (asked,) = reads(world)
    assert (asked.reason, asked.holds, asked.first_plan) == (
        ReadReason.DISAGREEMENT,
        True,
        "benign_advice",
    )
    assert count(world, SignedReport) == 0
    assert "Answer ready" not in signed_in("alice").get(f"/cases/{case}").text
    (entry,) = entries(world, AuditAction.SIGNATURE_HELD)
    assert entry.detail == "goes to a second reader"

    world.answer_second(asked.id, world.dan, diagnosis="nv", plan="benign_advice")
    assert sign(bob, case, **OVERRIDE).location == f"/review/{case}"
    page = words(bob.get(f"/review/{case}").text)
    assert "Two readers agree" in page
    assert "Reader Dan" in page


def test_a_clinic_may_switch_its_rule_off(world: World, bob: BrowserSession) -> None:
    set_rule(world, Rule(0.0, skin_tone=False, disagreement=False))
    world.analyst = FakeAnalyst(top="mel")
    case = world.first_read(world.alice, world.bob)
    assert sign(bob, case, **OVERRIDE).location == f"/review/{case}"
    assert reads(world) == []


def test_the_sample_is_read_after_the_letter_has_left(
    world: World, bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    set_rule(world, Rule(1.0, skin_tone=False, disagreement=False))
    assert sign(bob, case).location == f"/review/{case}"
    (asked,) = reads(world)
    assert (asked.reason, asked.holds, asked.blind) == (ReadReason.SAMPLE, False, True)
    assert "The doctor thinks this is harmless" in signed_in("alice").get(f"/cases/{case}").text


def test_a_decision_that_a_second_reader_would_not_take_goes_to_a_third(
    world: World, bob: BrowserSession, case: str
) -> None:
    gina = world.add_person("gina", Role.DERMATOLOGIST)
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")

    assert "A third dermatologist decides" in words(sign(bob, case).text)
    with world.sessions() as session:
        third = second_reads.open_of_case(session, case)
    assert third is not None
    world.answer_second(third.id, gina, diagnosis="mel", plan="biopsy")
    refused = sign(bob, case)
    assert "Choose a plan in which the patient is seen" in words(refused.text)
    assert count(world, SignedReport) == 0

    assert sign(bob, case, diagnosis="mel", icd10_code="C43.59", plan="biopsy", **OVERRIDE).location
    with world.sessions() as session:
        found = adjudication.consensus_of(session, case)
        assert found is not None
        assert (found.path, found.diagnosis) == ("adjudicated", "mel")


def test_a_consensus_that_differs_from_the_record_says_to_amend_it(
    world: World, bob: BrowserSession
) -> None:
    gina = world.add_person("gina", Role.DERMATOLOGIST)
    case = world.signed(world.alice, world.bob)
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    with world.sessions() as session:
        third = second_reads.open_of_case(session, case)
    assert third is not None
    world.answer_second(third.id, gina, diagnosis="mel", plan="biopsy")

    page = words(bob.get(f"/review/{case}").text)
    assert "A third reader decided" in page
    assert "Amend it and tell the patient" in page


def test_what_the_second_reader_thinks_stays_hidden_from_a_new_reader_before_the_own_first_read(
    world: World, bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    world.add_person("gina", Role.DERMATOLOGIST)
    world.second_read(case, world.bob, world.dan, diagnosis="mel", plan="biopsy")
    bob.post(f"/review/{case}/release", {"reason": "end_of_shift"})
    gina = signed_in("gina")
    gina.post(f"/review/{case}/claim")

    page = words(gina.get(f"/review/{case}").text)
    assert "Melanoma; high confidence" not in page
    gina.post(f"/review/{case}/first-read", FIRST_READ)
    assert "Melanoma; high confidence" in words(gina.get(f"/review/{case}").text)


def test_a_question_that_is_damaged_takes_nothing_else_with_it(
    world: World, bob: BrowserSession, case: str
) -> None:
    world.ask_second(case, world.bob)
    world.note(case, world.bob, "A note that is whole.")
    with world.sessions() as session, session.begin():
        (one,) = sealed_objects.of_submission(session, case, [ObjectKind.QUESTION])
        one.body = (one.body or b"")[:-1]

    page = words(bob.get(f"/review/{case}").text)
    assert "This text is damaged" in page
    assert "A note that is whole." in page
