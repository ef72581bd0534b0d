"""The language of letters, chosen by the patient."""

from collections.abc import Callable

from clinic.audit_event import AuditAction
from clinic.records.models import Patient
from tests.browser_session import BrowserSession
from tests.portal_tools import entries
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


def language_of(world: World) -> str:
    with world.sessions() as session:
        return session.get_one(Patient, world.alice.patient_id).language


def test_a_patient_chooses_the_language_of_letters(world: World, signed_in: SignedIn) -> None:
    alice = signed_in("alice")
    assert language_of(world) == "en"

    answer = alice.post("/account/language", {"language": "es"})

    assert answer.location == "/account"
    assert language_of(world) == "es"
    assert '<option value="es" selected>' in alice.get("/account").text
    (entry,) = entries(world, AuditAction.LANGUAGE_CHANGED)
    assert entry.detail == "es"


def test_a_language_that_is_not_offered_is_refused(world: World, signed_in: SignedIn) -> None:
    assert signed_in("alice").post("/account/language", {"language": "tlh"}).status_code == 400
    assert language_of(world) == "en"
