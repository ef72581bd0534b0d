"""The administrator's page of the rule of second reads."""

from collections.abc import Callable

import pytest

from clinic.audit_event import AuditAction
from clinic.double_read import Rule
from clinic.records import double_read_rules
from tests.browser_session import BrowserSession
from tests.portal_tools import entries, forget_proofs, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def erin(signed_in: SignedIn) -> BrowserSession:
    return signed_in("erin")


def rule(world: World, clinic_id: str) -> Rule:
    with world.sessions() as session:
        return double_read_rules.rule_of(session, clinic_id)


def test_the_rule_is_changed_for_the_own_clinic_alone(world: World, erin: BrowserSession) -> None:
    page = erin.get("/double-reads")
    assert 'value="5"' in page.text
    answer = erin.post("/double-reads", {"benign_percent": "12", "skin_tone": "y"})
    assert answer.status_code == 302
    assert rule(world, world.clinic_id) == Rule(0.12, skin_tone=True, disagreement=False)
    assert rule(world, world.other_clinic_id) == Rule()
    (entry,) = entries(world, AuditAction.DOUBLE_READ_RULE_CHANGED)
    assert entry.detail == "12%, tone True, differs False"


@pytest.mark.parametrize("percent", ["", "101", "-1", "a few", "4.5"])
def test_a_share_that_is_none_is_not_stored(
    world: World, erin: BrowserSession, percent: str
) -> None:
    assert erin.post("/double-reads", {"benign_percent": percent}).status_code == 422
    assert rule(world, world.clinic_id) == Rule()


def test_agreement_is_told_with_its_interval_once_there_are_enough_pairs(
    world: World, erin: BrowserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for diagnosis in ("nv", "mel"):
        case = world.first_read(world.alice, world.bob)
        world.second_read(case, world.bob, world.dan, diagnosis=diagnosis, plan="biopsy")
    assert "Too few cases: 2 of 20" in words(erin.get("/double-reads").text)
    monkeypatch.setattr("web.portal.double_reads.FEWEST_PAIRS", 2)
    page = words(erin.get("/double-reads").text)
    assert "Cohen's kappa 0.00, 95 % interval" in page
    assert "2 pairs" in page


def test_the_rule_is_changed_with_a_fresh_proof_alone(world: World, signed_in: SignedIn) -> None:
    erin = signed_in("erin")
    forget_proofs(world)
    answer = erin.post("/double-reads", {"benign_percent": "50"})
    assert answer.location == "/step-up?next=/double-reads"
    assert entries(world, AuditAction.DOUBLE_READ_RULE_CHANGED) == []
