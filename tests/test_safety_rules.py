"""What always holds, whatever the computer says: a person reads, decides and signs.

The pure rules are tried with drawn cases; the whole path, from the worker to the pages, with each
trouble that the computer can have.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from clinic.access import Actor, CaseFacts, Permission, Role, may
from clinic.intake import Answer, History, SevenPoint, SkinType, Symptom, urgent_route
from clinic.keeper_protocol import KeyPurpose, ObjectKind, RequestFacts, WantedObject, refusal
from clinic.records import review_queue, screening_queue
from clinic.records.models import SignedReport
from clinic.records.screening_queue import Finding
from clinic.submission import (
    CaseEvent,
    CaseState,
    ForbiddenMoveError,
    next_case_state,
)
from clinic.urgency import place_of
from ml.labels import CLASSES, CLINICAL_NAMES
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.triage import SET_LEVEL, Doubt, Urgency, expected_cost
from tests.browser_session import BrowserSession
from tests.fakes import POLICY, FakeAnalyst, prediction
from tests.portal_tools import DECISION, FIRST_READ, ask_for_pictures, count, row_of, words
from tests.world import World, history
from worker.analysis import Analysis
from worker.finding import AI_REFUSED, finding_of

SignedIn = Callable[[str], BrowserSession]
SUSPICIOUS, URGENT = place_of(Urgency.SUSPICIOUS), place_of(Urgency.URGENT)
NO_EVIDENCE = {SkinType.V, SkinType.VI, SkinType.UNDISCLOSED}


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    weights = [draw(st.floats(0.001, 1.0)) ** draw(st.sampled_from([1, 4])) for _ in CLASSES]
    shares = {name: one / sum(weights) for name, one in zip(CLASSES, weights, strict=True)}
    return Prediction(
        probabilities=shares,
        members={},
        spread=draw(st.floats(0.0, 1.0)),
        sets={SET_LEVEL: tuple(draw(st.sets(st.sampled_from(CLASSES), max_size=3)))},
        outlier_score=draw(st.floats(0.0, 12.0)),
    )


@st.composite
def analyses(draw: st.DrawFn) -> Analysis:
    found = FakeAnalyst().analyse_one(np.zeros((2, 2, 3), np.uint8))
    flags = tuple(draw(st.sets(st.sampled_from(QualityFlag))))
    return replace(found, prediction=draw(predictions()), quality_flags=flags)


@st.composite
def histories(draw: st.DrawFn) -> History:
    return replace(
        history(),
        skin_type=draw(st.sampled_from(SkinType)),
        seven_point={one: draw(st.sampled_from(Answer)) for one in SevenPoint},
        symptoms={one: draw(st.sampled_from(Answer)) for one in Symptom},
        strong_concern=draw(st.sampled_from(["", "It grows."])),
    )


def found_by(told: History, analysis: Analysis | None) -> Finding:
    return finding_of(FakeAnalyst(), told, analysis, view="close_up", seconds={})


def doubts_of(told: History, analysis: Analysis) -> set[Doubt]:
    """Which doubts there are, said here in other words than the rule."""
    said, score = analysis.prediction, analysis.prediction.outlier_score
    present = {
        Doubt.NOT_SKIN: score > POLICY.not_skin,
        Doubt.UNUSUAL: POLICY.unusual < score <= POLICY.not_skin,
        Doubt.POOR_QUALITY: bool(analysis.quality_flags),
        Doubt.SKIN_TONE: told.skin_type in NO_EVIDENCE,
        Doubt.DISAGREEMENT: said.spread > POLICY.high_spread,
        Doubt.ABSTENTION: expected_cost(said) > POLICY.abstain_cost,
        Doubt.LOW_CONFIDENCE: max(said.probabilities.values()) < POLICY.low_confidence,
    }
    return {doubt for doubt, holds in present.items() if holds}


SAID = {
    Doubt.NOT_SKIN: "does not look like skin",
    Doubt.UNUSUAL: "unlike those that the AI learned from",
    Doubt.POOR_QUALITY: "The AI may be misled",
    Doubt.SKIN_TONE: "kin type",
    Doubt.DISAGREEMENT: "networks of the AI disagree",
    Doubt.ABSTENTION: "The AI abstains",
    Doubt.LOW_CONFIDENCE: "The AI is not sure",
}


@given(histories(), analyses())
def test_no_doubt_leaves_a_case_routine_and_each_is_said(told: History, analysis: Analysis) -> None:
    found = found_by(told, analysis)

    doubts = doubts_of(told, analysis)
    if doubts:
        assert found.urgency <= SUSPICIOUS
    for doubt, sentence in SAID.items():
        assert any(sentence in reason for reason in found.reasons) == (doubt in doubts), doubt


@given(histories(), st.none() | analyses())
def test_the_computer_never_makes_a_case_less_urgent_than_the_rules(
    told: History, analysis: Analysis | None
) -> None:
    if urgent_route(told):
        assert found_by(told, analysis).urgency == URGENT


@given(histories())
def test_without_the_computer_a_person_looks_sooner_and_nothing_is_invented(told: History) -> None:
    found = found_by(told, None)

    assert found.urgency <= SUSPICIOUS
    assert any("AI unavailable" in reason for reason in found.reasons)
    assert AI_REFUSED in found.rule_reasons
    assert not found.ai_used
    assert (found.probabilities, found.explained_class, found.maps) == (None, None, None)


@given(histories(), analyses())
def test_what_is_read_before_the_first_read_names_no_class_and_no_number_of_the_computer(
    told: History, analysis: Analysis
) -> None:
    blind = found_by(told, analysis).rule_reasons

    assert not [name for name in CLINICAL_NAMES.values() for one in blind if name in one]
    assert not [one for one in blind if "The AI" in one or "%" in one]
    # The same history and photo with any other answer of the computer read the same.
    other = replace(analysis, prediction=prediction("mel"))
    assert found_by(told, other).rule_reasons == blind


@given(st.lists(st.sampled_from(CaseEvent), max_size=30))
def test_no_walk_of_events_closes_a_case_but_by_a_signature(events: list[CaseEvent]) -> None:
    state = CaseState.RECEIVED
    for event in events:
        try:
            after = next_case_state(state, event)
        except ForbiddenMoveError:
            continue
        assert state is not CaseState.SIGNED, "nothing leaves a signed case"
        if after is CaseState.SIGNED:
            assert (state, event) == (CaseState.AWAITING_REVIEW, CaseEvent.SIGN)
        state = after


people = st.builds(
    Actor,
    user_id=st.sampled_from(["one", "two"]),
    role=st.sampled_from(Role),
    clinic_id=st.sampled_from(["here", "there"]),
    patient_id=st.sampled_from([None, "p1", "p2"]),
)
cases = st.builds(
    CaseFacts,
    patient_id=st.sampled_from(["p1", "p2"]),
    clinic_id=st.sampled_from(["here", "there"]),
    claimed_by=st.sampled_from([None, "one", "two"]),
    first_read_by=st.sampled_from([None, "one", "two"]),
    signed=st.booleans(),
)


@given(people, cases)
def test_only_the_dermatologist_who_holds_a_case_and_read_it_blind_may_sign(
    actor: Actor, case: CaseFacts
) -> None:
    if may(actor, Permission.SIGN, case):
        assert actor.role is Role.DERMATOLOGIST
        assert actor.clinic_id == case.clinic_id
        assert case.claimed_by == case.first_read_by == actor.user_id
        assert not case.signed


@given(people, cases)
def test_the_keeper_opens_no_heat_map_to_a_patient_or_before_the_own_first_read(
    actor: Actor, case: CaseFacts
) -> None:
    facts = RequestFacts(
        purpose=KeyPurpose.VIEW,
        expired=False,
        objects=(WantedObject(ObjectKind.HEATMAP, case.patient_id, "case"),),
        actor=actor,
        case=case,
        submission_id="case",
    )
    if refusal(facts) is None:
        assert actor.role is Role.DERMATOLOGIST
        assert case.signed or case.first_read_by == actor.user_id


@dataclass
class Troubled(FakeAnalyst):
    """Answers a calm nevus with one trouble."""

    said: Prediction | None = None

    def analyse_one(self, pixels: np.ndarray) -> Analysis:
        found = super().analyse_one(pixels)
        return replace(found, prediction=self.said) if self.said else found


def calm(**change: Any) -> Prediction:
    return replace(prediction("nv", 0.999), **change)


TROUBLES = {
    Doubt.NOT_SKIN: Troubled(said=calm(outlier_score=POLICY.not_skin + 1)),
    Doubt.UNUSUAL: Troubled(said=calm(outlier_score=POLICY.not_skin)),
    Doubt.POOR_QUALITY: Troubled(said=calm(), flags=(QualityFlag.BLURRED,)),
    Doubt.DISAGREEMENT: Troubled(said=calm(spread=POLICY.high_spread + 0.1)),
    Doubt.LOW_CONFIDENCE: Troubled(said=prediction("nv", POLICY.low_confidence - 0.01)),
    Doubt.SKIN_TONE: Troubled(said=calm()),
}


@pytest.mark.parametrize("doubt", TROUBLES)
def test_with_each_trouble_a_person_reads_first_the_case_says_why_and_waits_for_a_signature(
    world: World, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch, doubt: Doubt
) -> None:
    if doubt is Doubt.SKIN_TONE:
        told = replace(history(), skin_type=SkinType.VI)
        monkeypatch.setattr("tests.world.history", lambda: told)
    world.analyst = TROUBLES[doubt]
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")

    row = row_of(world, case)
    assert row.case_state == CaseState.AWAITING_REVIEW
    assert (row.urgency or 0) <= SUSPICIOUS
    assert bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign"}).status_code == 403
    bob.post(f"/review/{case}/first-read", FIRST_READ)
    page = words(bob.get(f"/review/{case}").text)
    assert SAID[doubt] in page
    assert count(world, SignedReport) == 0


def test_a_calm_case_is_routine_and_waits_for_a_signature_too(world: World) -> None:
    world.analyst = Troubled(said=calm())
    case = world.screened(world.alice)
    row = row_of(world, case)
    assert (row.case_state, row.urgency) == (CaseState.AWAITING_REVIEW, 2)
    assert count(world, SignedReport) == 0


def test_a_computer_that_is_gone_hands_the_case_to_people_with_the_reason(
    world: World, signed_in: SignedIn
) -> None:
    case = world.submit(world.alice)
    services = world.screening()
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(session, hint=case, lease=services.lease, limit=1)
        assert screening_queue.give_up(session, held, reason="the model files are damaged")
    with world.sessions() as session, session.begin():
        assert review_queue.claim(session, case, reader_id=world.bob.account_id)

    row = row_of(world, case)
    assert (row.case_state, row.urgency) == (CaseState.AWAITING_REVIEW, SUSPICIOUS)
    page = words(signed_in("bob").get(f"/review/{case}").text)
    assert "AI unavailable: the model files are damaged" in page
    assert count(world, SignedReport) == 0


# Of the patient's own pages these are left out: the model's card names every class to everybody,
# and the copy of one's own record holds by law what was stored, under the signed report alone.
NOT_ASKED = {"/ai-label", "/my-record/archive.zip", "/my-record/archive.json"}


def pages_of(app: Flask, browser: BrowserSession, case: str) -> dict[str, str]:
    """Every answer to a GET of this patient, as HTML and as JSON."""
    paths = {
        rule.rule.replace("<case_id>", case)
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and rule.arguments <= {"case_id"}
    }
    asked = ask_for_pictures(browser.client, browser.csrf_token(), case).json
    paths = {path for path in paths - NOT_ASKED if not path.startswith("/static")}
    found = {path: browser.get(path).text for path in sorted(paths) if "sign-out" not in path}
    as_json = {"Accept": "application/json"}
    found |= {
        f"{path} as JSON": browser.client.get(path, headers=as_json).text
        for path in (f"/cases/{case}", "/cases", f"/review/{case}", asked["url"])
    }
    return found


@pytest.mark.parametrize("top", ["mel", "vasc", "bkl"])
def test_no_page_and_no_json_of_a_patient_holds_what_the_computer_said(
    app: Flask, world: World, signed_in: SignedIn, top: str
) -> None:
    world.analyst = FakeAnalyst(top=top, flags=(QualityFlag.BLURRED,))
    alice = signed_in("alice")
    case = world.first_read(world.alice, world.bob)
    said = (CLINICAL_NAMES[top], "fake-1", "f" * 12, "The AI ", "82 in 100", "heatmap")
    # The probability is a number of its own, not the end of a moment's seconds, as in 10.82.
    forbidden = [*map(re.escape, said), r"(?<!\d)0\.82"]
    for state in ("read", "signed"):
        for path, text in pages_of(app, alice, case).items():
            assert not [one for one in forbidden if re.search(one, text)], (state, path)
        if state == "read":
            world.sign(case, world.bob)
