"""The computer's view in words, and how a decision may speak of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from clinic.intake import SkinType
from clinic.keeper_protocol import ObjectKind
from clinic.records import review, sealed_objects
from clinic.records.models import FirstRead, ScreeningResult, SignedReport
from ml.labels import CLASSES
from ml.quality_flag import QualityFlag
from ml.triage import DOUBT_WORDS, Doubt
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import DECISION, FIRST_READ, count, words
from tests.world import World, history
from web.portal import computer_view

SignedIn = Callable[[str], BrowserSession]
SHARES = dict.fromkeys(CLASSES, 0.02) | {"mel": 0.6, "nv": 0.28}


def result(**change: Any) -> ScreeningResult:
    values: dict[str, Any] = {
        "ai_used": True,
        "probabilities": SHARES,
        "members": {
            "basic_cnn": SHARES | {"mel": 0.2, "nv": 0.68},
            "inception_v3": SHARES,
        },
        "prediction_sets": {"0.90": ["mel", "nv"]},
        "explained_class": "mel",
        "maps": [{"label": "mel", "focus": "top"}, {"label": "nv", "focus": "nowhere"}],
        "analysed_view": "dermoscopic",
        "quality_flags": [],
        "reasons": ["The AI cannot rule out: Melanoma."],
        "model_version": "m1",
        "model_fingerprint": "f" * 64,
    }
    return ScreeningResult(**values | change)


def shown(found: ScreeningResult, read: FirstRead | None = None) -> dict[str, Any]:
    told = computer_view.computer(found, read, history())
    assert told is not None
    return told


def first_read(impression: str, *alternatives: str) -> FirstRead:
    return FirstRead(impression=impression, alternatives=list(alternatives))


def test_both_likeliest_classes_are_explained_with_where_the_computer_looked() -> None:
    assert shown(result())["maps"] == [
        {"label": "Melanoma", "words": "The computer looked mostly at the upper edge."},
        {"label": "Melanocytic nevus", "words": "Hardly anything in the photo spoke for it."},
    ]


def test_a_result_of_an_earlier_version_has_one_map_and_no_words_for_it() -> None:
    assert shown(result(maps=None))["maps"] == [{"label": "Melanoma", "words": ""}]
    assert shown(result(maps=None, explained_class=None))["maps"] == []


def test_each_network_is_shown_with_what_it_finds_likeliest() -> None:
    assert shown(result())["members"] == [
        {"name": "Basic CNN", "label": "Melanocytic nevus", "probability": 0.68},
        {"name": "Inception-v3", "label": "Melanoma", "probability": 0.6},
    ]


@pytest.mark.parametrize("doubt", DOUBT_WORDS)
def test_a_doubt_is_a_warning_and_not_said_again_among_the_reasons(doubt: Doubt) -> None:
    told = shown(result(reasons=[DOUBT_WORDS[doubt], "Another reason."]))

    assert told["warnings"] == [DOUBT_WORDS[doubt]]
    assert told["reasons"] == ["Another reason."]


def test_quality_tone_and_lens_are_warned_of() -> None:
    dark = replace(history(), skin_type=SkinType.VI)
    found = result(quality_flags=[QualityFlag.BLURRED], analysed_view="close_up")

    told = computer_view.computer(found, None, dark)
    assert told is not None
    tone, quality, lens = told["warnings"]
    assert "Skin type VI is outside the evidence" in tone
    assert quality == "The AI may be misled: the photo is blurred."
    assert "without" in lens
    lost = computer_view.computer(result(), None, None)
    assert lost is not None
    assert "The skin type was not told" in lost["warnings"][0]


DIFFERS, LOOK_AGAIN = (
    "It differs from your first read.",
    " Benign and malignant differ: look again.",
)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (None, ""),
        (first_read("mel"), "It agrees with your first read."),
        (first_read("bcc"), DIFFERS),
        (first_read("nv"), f"{DIFFERS}{LOOK_AGAIN}"),
        (first_read("nv", "mel"), f"{DIFFERS} It was among your alternatives.{LOOK_AGAIN}"),
    ],
)
def test_the_first_read_is_compared_with_the_likeliest_class(
    read: FirstRead | None, words: str
) -> None:
    assert shown(result(), read)["agreement_words"] == words


def test_without_an_analysis_there_is_no_view() -> None:
    nothing = result(ai_used=False, probabilities=None)
    assert computer_view.computer(nothing, None, history()) is None
    assert computer_view.computer(None, None, history()) is None
    assert "No computer's view" in computer_view.line(nothing)
    assert computer_view.line(result()) == "Melanoma, about 60 in 100 (model m1)"


AGREEMENTS = [
    (result(), "agree", "mel", ""),
    (result(), "agree", "nv", "you decided otherwise"),
    (result(), "override", "nv", ""),
    (result(), "override", "mel", ""),
    (result(), "not_available", "mel", "There was a computer's view"),
    (None, "not_available", "nv", ""),
    (None, "agree", "nv", "There was no computer's view"),
    (result(ai_used=False, probabilities=None), "override", "nv", "There was no computer's view"),
]


@pytest.mark.parametrize(("found", "agreement", "diagnosis", "said"), AGREEMENTS)
def test_a_decision_says_truly_whether_it_follows_the_computer(
    found: ScreeningResult | None, agreement: str, diagnosis: str, said: str
) -> None:
    problem = computer_view.agreement_problem(found, agreement=agreement, diagnosis=diagnosis)
    assert bool(problem) == bool(said)
    assert said in (problem or "")


def test_a_decision_that_says_it_wrongly_is_not_signed(world: World, signed_in: SignedIn) -> None:
    world.analyst = FakeAnalyst(top="mel")
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")

    answer = bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign"})

    assert answer.status_code == 422
    assert "The computer finds Melanoma likeliest" in words(answer.text)
    assert count(world, SignedReport) == 0
    override = {"agreement": "override", "override_reason": "history", "action": "sign"}
    held = bob.post(f"/review/{case}/sign", {**DECISION, **override})
    assert "a second dermatologist reads this case" in words(held.text)


def test_each_heat_map_is_labelled_with_the_class_that_it_explains(world: World) -> None:
    world.analyst = FakeAnalyst(top="mel")
    case = world.screened(world.alice)
    with world.sessions() as session:
        pictures = sealed_objects.of_submission(session, case, list(ObjectKind))
        found = review.result_of(session, case)
        labels = computer_view.layer_labels(pictures[::-1], found)
        maps = sealed_objects.of_submission(session, case, [ObjectKind.HEATMAP])
    assert [labels[one.id] for one in maps] == ["Melanoma", "Melanocytic nevus"]
    assert len(labels) == 2


def test_an_earlier_versions_result_is_read_at_the_desk(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    with world.sessions() as session, session.begin():
        second = sealed_objects.of_submission(session, case, [ObjectKind.HEATMAP])[1]
        session.delete(second)
        session.execute(update(ScreeningResult).values(maps=None))
    bob.post(f"/review/{case}/first-read", FIRST_READ)

    page = words(bob.get(f"/review/{case}").text)

    assert "Heat map for Melanocytic nevus" in page
    assert "and why not" not in page
