"""Notes among readers: kept as they were written, and never shown to a patient."""

import io
import zipfile
from collections.abc import Callable

import pytest

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records.models import CaseNote
from tests.browser_session import BrowserSession
from tests.portal_tools import count, entries, object_of, table_bytes, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
NOTE = "The mother had an ocelot melanoma."


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.signed(world.alice, world.bob)


def test_a_note_is_sealed_and_shown_with_author_and_time(
    world: World, bob: BrowserSession, case: str
) -> None:
    answer = bob.post(f"/review/{case}/notes", {"note": NOTE})
    assert answer.status_code == 302
    page = words(bob.get(f"/review/{case}").text)
    assert NOTE in page
    assert "Reader Bob," in page
    assert b"ocelot" not in table_bytes(world)
    (entry,) = entries(world, AuditAction.NOTE_WRITTEN)
    assert (entry.submission_id, entry.detail) == (case, "")


@pytest.mark.parametrize("note", ["", " ", "x" * 2001])
def test_a_note_that_cannot_be_stored_stays_in_the_form(
    world: World, bob: BrowserSession, case: str, note: str
) -> None:
    answer = bob.post(f"/review/{case}/notes", {"note": note})
    assert answer.status_code == 422
    assert note.strip() in answer.text
    assert count(world, CaseNote) == 0


def test_no_patient_sees_a_note_on_a_page_in_the_archive_or_by_its_key(
    world: World, bob: BrowserSession, signed_in: SignedIn, case: str
) -> None:
    bob.post(f"/review/{case}/notes", {"note": NOTE})
    world.message(case, world.bob, "A lynx message.")
    alice = signed_in("alice")
    for path in ("/cases", f"/cases/{case}", f"/cases/{case}/messages"):
        assert "ocelot" not in alice.get(path).text
    assert alice.get(f"/objects/{object_of(world, case, ObjectKind.NOTE)}").status_code == 404

    alice.post("/step-up", {"password": "correct horse battery"})
    archive = zipfile.ZipFile(io.BytesIO(alice.get("/my-record/archive.zip").data))
    held = {name: archive.read(name).decode() for name in archive.namelist()}
    assert not [name for name, text in held.items() if "ocelot" in text]
    said = [text for name, text in held.items() if name.startswith("messages/")]
    assert len(said) == 1
    assert "A lynx message." in said[0]
