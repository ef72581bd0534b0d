"""The blind first read at the desk."""

from collections.abc import Callable

import pytest

from clinic.audit_event import AuditAction
from clinic.records import first_reads
from clinic.records.models import FirstRead, Reading
from tests.browser_session import BrowserSession
from tests.fakes import FakeAnalyst
from tests.portal_tools import FIRST_READ, both_databases, count, entries, words
from tests.world import World
from worker.screen_submission import screen

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


def reading(world: World, case: str) -> Reading | None:
    with world.sessions() as session:
        return first_reads.reading(session, case, reader_id=world.bob.account_id)


@both_databases
def test_a_differential_is_stored_in_its_order_and_shown_again(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    form = {**FIRST_READ, "second": "mel", "third": "bkl", "urgency": "suspicious"}

    answer = bob.post(f"/review/{case}/first-read", form)

    assert answer.location == f"/review/{case}"
    with world.sessions() as session:
        found = first_reads.find(session, case)
    assert found is not None
    assert (found.impression, found.alternatives) == ("nv", ["mel", "bkl"])
    assert (found.confidence, found.urgency) == ("medium", 1)
    page = words(bob.get(f"/review/{case}").text)
    shown = "Melanocytic nevus , then Melanoma, then Benign keratosis-like lesion; medium"
    assert shown in page
    (entry,) = entries(world, AuditAction.FIRST_READ_RECORDED)
    assert (entry.actor, entry.detail) == (world.bob.account_id, "")


WRONG = [
    ({"urgency": ""}, "Choose how urgent you find it."),
    ({"urgency": "now"}, "Not a valid choice."),
    ({"confidence": ""}, "Choose your confidence."),
    ({"second": "nv"}, "The second group is your first one."),
    ({"third": "mel"}, "Choose a second group before a third one."),
    ({"second": "mel", "third": "mel"}, "The third group stands there already."),
    ({"second": "mel", "third": "nv"}, "The third group stands there already."),
    ({"second": "xyz"}, "Not a valid choice."),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_a_read_with_a_mistake_comes_back_with_words_and_reveals_nothing(
    world: World, bob: BrowserSession, changed: dict[str, str], said: str
) -> None:
    case = world.claimed(world.alice, world.bob)

    answer = bob.post(f"/review/{case}/first-read", {**FIRST_READ, **changed})

    assert answer.status_code == 422
    assert said in answer.text
    assert "in 100" not in answer.text
    assert count(world, FirstRead) == 0


def test_a_reading_begins_with_the_open_case_and_its_reveal_with_the_computers_view(
    world: World, bob: BrowserSession
) -> None:
    case = world.screened(world.alice)
    bob.get(f"/review/{case}")
    assert reading(world, case) is None, "the page of a case that is not claimed opens nothing"
    bob.post(f"/review/{case}/claim")

    bob.get(f"/review/{case}")
    begun = reading(world, case)
    assert begun is not None
    assert begun.revealed_at is None
    bob.post(f"/review/{case}/first-read", FIRST_READ)
    assert reading(world, case).revealed_at is None, "nothing is shown by storing alone"
    bob.get(f"/review/{case}")

    shown = reading(world, case)
    assert shown.started_at == begun.started_at
    assert shown.revealed_at is not None


def test_without_a_computers_view_nothing_is_noted_as_revealed(
    world: World, bob: BrowserSession
) -> None:
    case = world.submit(world.alice, ai=False)
    screen(world.screening(), case)
    bob.post(f"/review/{case}/claim")
    bob.get(f"/review/{case}")
    bob.post(f"/review/{case}/first-read", FIRST_READ)
    bob.get(f"/review/{case}")

    assert reading(world, case).revealed_at is None


def test_whoever_reads_blind_is_not_told_the_urgency_that_the_computer_had_a_part_in(
    world: World, bob: BrowserSession
) -> None:
    world.analyst = FakeAnalyst(top="mel")
    case = world.claimed(world.alice, world.bob)

    blind = words(bob.get(f"/review/{case}").text)
    bob.post(f"/review/{case}/first-read", FIRST_READ)
    seen = words(bob.get(f"/review/{case}").text)

    assert "Urgency: after your first read" in blind
    assert "Urgency: after your first read" not in seen
    assert "Urgent" in seen.partition("Your decision")[0]
