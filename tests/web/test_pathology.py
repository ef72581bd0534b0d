"""Pathology in the portal: awaited, added, compared; it changes no report and tells no patient."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from clinic.audit_event import AuditAction
from clinic.reading_statistics import Share
from clinic.records.models import Notice, PathologyResult, SignedReport
from tests.browser_session import BrowserSession
from tests.portal_tools import DECISION, count, entries, table_bytes, words
from tests.world import World
from web.portal.pathology import share_words

SignedIn = Callable[[str], BrowserSession]
RESULT = {
    "diagnosis": "mel",
    "icd10_code": "C43.59",
    "morphology": "8720/3",
    "specimen": "excision",
    "source": "laboratory report",
    "reported_on": datetime.now(UTC).date().isoformat(),
    "note": "Breslow 0.4 mm.",
}


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World, bob: BrowserSession) -> str:
    """Signed for biopsy."""
    case = world.first_read(world.alice, world.bob)
    bob.post(f"/review/{case}/sign", {**DECISION, "plan": "biopsy", "action": "sign"})
    return case


def test_a_result_closes_the_loop_and_changes_no_report(
    world: World, bob: BrowserSession, case: str
) -> None:
    assert f"/review/{case}/pathology" in bob.get("/pathology").text
    before = count(world, Notice)

    answer = bob.post(f"/review/{case}/pathology", RESULT)

    assert answer.location == f"/review/{case}#pathology"
    page = words(bob.get(f"/review/{case}").text)
    for shown in ("C43.59 Malignant melanoma of other part of trunk", "8720/3", "Breslow 0.4 mm."):
        assert shown in page
    assert f"/review/{case}/pathology" not in bob.get("/pathology").text
    assert "1 case has a result." in words(bob.get("/pathology").text)
    assert count(world, SignedReport) == 1
    assert count(world, Notice) == before
    assert b"Breslow" not in table_bytes(world)
    (entry,) = entries(world, AuditAction.PATHOLOGY_RECORDED)
    assert entry.submission_id == case


def test_any_dermatologist_of_the_clinic_adds_it_without_seeing_the_case(
    world: World, case: str, signed_in: SignedIn
) -> None:
    dan = signed_in("dan")
    form = words(dan.get(f"/review/{case}/pathology").text)
    for personal in ("Alice", "harmless", "Melanocytic nevus, ", "52 years"):
        assert personal not in form

    assert dan.post(f"/review/{case}/pathology", RESULT).location == "/pathology"
    assert dan.get(f"/review/{case}").status_code == 403
    assert count(world, PathologyResult) == 1


def test_a_patient_never_reads_pathology_by_itself(
    bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    bob.post(f"/review/{case}/pathology", RESULT)
    page = signed_in("alice").get(f"/cases/{case}").text
    assert not [one for one in ("Breslow", "C43", "8720", "elanoma") if one in page]


def test_a_wrong_result_comes_back_with_words(world: World, bob: BrowserSession, case: str) -> None:
    answer = bob.post(f"/review/{case}/pathology", RESULT | {"morphology": "nine"})
    assert answer.status_code == 422
    assert "Enter a code such as 8720/3." in answer.text
    assert count(world, PathologyResult) == 0


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (Share(0, 0), "no case"),
        (Share(2, 3), "too few cases (2 of 3)"),
        (Share(18, 20), "90% (70% to 97%), 18 of 20"),
    ],
)
def test_a_share_is_shown_with_its_interval_or_not_at_all(share: Share, said: str) -> None:
    assert share_words(share) == said
