"""Before the reader's own impression is stored, nothing tells what the computer thinks."""

from collections.abc import Callable

import numpy as np
import pytest

from clinic.records import review
from ml.labels import CLINICAL_NAMES
from ml.quality_flag import FLAG_WORDS, QualityFlag
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import both_databases
from tests.world import World, history
from worker.finding import AI_REFUSED, rule_reasons

SignedIn = Callable[[str], BrowserSession]


@both_databases
def test_queue_and_case_page_say_only_what_the_rules_say(world: World, signed_in: SignedIn) -> None:
    world.analyst = FakeAnalyst(top="mel")
    case = world.claimed(world.alice, world.bob)
    with world.sessions() as session:
        result = review.result_of(session, case)
    assert result is not None
    spoken = [reason for reason in result.reasons if "The AI" in reason]
    assert spoken, "this test needs a case about which the computer has something to say"
    bob = signed_in("bob")

    for page in (bob.get("/review").text, bob.get(f"/review/{case}").text):
        assert not [reason for reason in spoken if reason in page]
        assert "The AI" not in page

    form = {"impression": "nv", "confidence": "low", "urgency": "routine"}
    assert bob.post(f"/review/{case}/first-read", form).status_code == 302
    revealed = bob.get(f"/review/{case}").text
    assert CLINICAL_NAMES["mel"] in revealed
    assert spoken[0] in revealed


@pytest.mark.parametrize("flags", [(), (QualityFlag.BLURRED,), (QualityFlag.NOT_SKIN_LIKE,)])
def test_the_rules_speak_of_the_photo_but_never_of_a_class(flags: tuple[QualityFlag, ...]) -> None:
    found = FakeAnalyst(top="mel", flags=flags).analyse_one(np.zeros((2, 2, 3), np.uint8))

    assert rule_reasons(history(), found) == tuple(FLAG_WORDS[flag] for flag in flags)


def test_a_refused_computer_is_a_reason_of_the_rules() -> None:
    assert rule_reasons(history(), None) == (AI_REFUSED,)
