"""Files beside a case: sealed at once, given out as downloads, never as they came."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from clinic.attachment import MAX_BYTES, MAX_OF_A_CASE
from clinic.audit_event import AuditAction
from clinic.records.models import Attachment
from tests.browser_session import BrowserSession
from tests.portal_tools import attach, count, entries, stored_bytes, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
PDF = b"%PDF-1.7 the report of Alice"


@pytest.fixture
def bob(signed_in: SignedIn) -> BrowserSession:
    return signed_in("bob")


@pytest.fixture
def case(world: World) -> str:
    return world.first_read(world.alice, world.bob)


def send(browser: BrowserSession, case: str, data: bytes, **form: str) -> Any:
    fields: dict[str, Any] = {"kind": "leaflet", "csrf_token": browser.csrf_token(), **form}
    fields["file"] = (io.BytesIO(data), "Alice Miller melanoma.pdf")
    return browser.client.post(f"/review/{case}/attachments", data=fields, follow_redirects=True)


def test_a_file_is_stored_sealed_and_its_name_is_not_kept(
    world: World, bob: BrowserSession, case: str
) -> None:
    page = words(send(bob, case, PDF).text)

    assert "Leaflet for the patient (PDF, 1 kB)" in page
    assert "Miller" not in page
    assert not [name for name, data in stored_bytes(world.folder) if b"%PDF" in data]
    (entry,) = entries(world, AuditAction.ATTACHMENT_ADDED)
    assert entry.detail == "leaflet, application/pdf"


def test_a_file_goes_out_as_a_download_that_no_browser_shows_or_runs(
    world: World, bob: BrowserSession, case: str
) -> None:
    answer = bob.get(f"/attachments/{attach(world, case, data=PDF)}")

    assert answer.data == PDF
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert "no-store" in answer.headers["Cache-Control"]
    assert len(entries(world, AuditAction.ATTACHMENT_READ)) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "This file is empty."),
        (b"<html><script>alert(1)</script>", "Send a PDF, JPEG or PNG file."),
        (b"%PDF-" + b"x" * MAX_BYTES, "This file is too large."),
    ],
)
def test_a_file_that_is_not_taken_is_refused_with_words_and_one_entry(
    world: World, bob: BrowserSession, case: str, data: bytes, said: str
) -> None:
    assert said in send(bob, case, data).text
    assert count(world, Attachment) == 0
    (entry,) = entries(world, AuditAction.ATTACHMENT_ADDED)
    assert not entry.allowed


def test_without_a_file_or_a_kind_nothing_is_added(
    world: World, bob: BrowserSession, case: str
) -> None:
    assert (
        "Choose a file first."
        in bob.post(f"/review/{case}/attachments", {"kind": "leaflet"}, follow_redirects=True).text
    )
    assert "Choose what it is." in send(bob, case, PDF, kind="").text
    assert count(world, Attachment) == 0


def test_a_case_takes_so_many_files_and_no_more(
    world: World, bob: BrowserSession, case: str
) -> None:
    for _ in range(MAX_OF_A_CASE):
        attach(world, case)
    assert "Remove one first." in send(bob, case, PDF).text
    assert count(world, Attachment) == MAX_OF_A_CASE


def test_a_file_is_removed_with_its_body_while_the_case_is_open(
    world: World, bob: BrowserSession, case: str
) -> None:
    file = attach(world, case)
    assert world.blobs.get(file)

    bob.post(f"/attachments/{file}/remove")

    assert count(world, Attachment) == 0
    assert file not in {name.rpartition("/")[2] for name, _ in stored_bytes(world.folder)}
    assert bob.get(f"/attachments/{file}").status_code == 404


def test_the_patient_opens_what_is_meant_for_them_once_it_is_signed(
    world: World, bob: BrowserSession, case: str, signed_in: SignedIn
) -> None:
    meant, inner = attach(world, case), attach(world, case, for_patient=False)
    alice = signed_in("alice")
    assert alice.get(f"/attachments/{meant}").status_code == 403

    world.sign(case, world.bob)

    assert alice.get(f"/attachments/{meant}").status_code == 200
    assert alice.get(f"/attachments/{inner}").status_code == 403
    page = alice.get(f"/cases/{case}").text
    assert meant in page
    assert inner not in page
    assert bob.post(f"/attachments/{meant}/remove").status_code == 409
    assert count(world, Attachment) == 2
