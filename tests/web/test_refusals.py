"""Bad input leaves one audit entry, and a flood of it leaves few."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from clinic.audit_event import AuditAction
from tests.browser_session import BrowserSession
from tests.portal_tools import another_app, entries, send
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def alice(signed_in: SignedIn) -> BrowserSession:
    return signed_in("alice")


def refusals(world: World) -> list[tuple[str, str]]:
    return [(one.actor, one.detail) for one in entries(world, AuditAction.REQUEST_REFUSED)]


BAD_INPUT: dict[str, Callable[[BrowserSession], TestResponse]] = {
    "portal.new_case 422": lambda one: one.post("/cases/new", {}),
    "portal.new_case 400": lambda one: one.post("/cases/new", {"submission_id": "no id"}),
    "portal.change_care 400": lambda one: one.post("/account/care", {"care": "perhaps"}),
    "portal.withdraw_erasure 404": lambda one: one.post("/my-record/erasure/withdraw"),
}


@pytest.mark.parametrize("detail", BAD_INPUT)
def test_bad_input_is_one_entry(world: World, alice: BrowserSession, detail: str) -> None:
    alice.csrf_token()

    BAD_INPUT[detail](alice)

    assert refusals(world) == [(world.alice.account_id, detail)]
    (entry,) = entries(world, AuditAction.REQUEST_REFUSED)
    assert (entry.allowed, entry.patient_id) == (False, world.alice.patient_id)


def test_a_form_without_its_token_is_one_entry(world: World, alice: BrowserSession) -> None:
    assert alice.client.post("/account/consents", data={}).status_code == 400
    assert [detail for _, detail in refusals(world)] == ["portal.change_consents 400"]


def test_a_body_that_is_too_large_is_one_entry(
    world: World, database_url: str, tmp_path: Path
) -> None:
    app = another_app(world, database_url, tmp_path, upload_limit_mib=1)
    alice = BrowserSession.of(app, world, world.alice)
    sent = alice.client.post("/cases/new", data={"notes": "x" * 2**21})
    assert sent.status_code == 413
    assert [detail for _, detail in refusals(world)] == ["portal.new_case 413"]


def test_what_a_view_has_audited_itself_is_not_written_twice(
    world: World, alice: BrowserSession
) -> None:
    case = world.submit(world.carol)
    assert alice.get(f"/cases/{case}").status_code == 403
    assert refusals(world) == []
    assert len(entries(world, AuditAction.ACCESS_DENIED)) == 1


def test_what_was_half_done_before_the_refusal_is_not_kept(
    world: World, alice: BrowserSession
) -> None:
    """The entry is written after a rollback, never together with what the view left undone."""
    world.submit(world.alice)
    alice.post("/my-record/erasure", {"sure": "y"})
    alice.post("/my-record/erasure", {"sure": "y"})
    assert len(entries(world, AuditAction.ERASURE_ASKED)) == 1
    assert [detail for _, detail in refusals(world)] == ["portal.ask_for_erasure 409"]


def test_who_sends_too_fast_leaves_one_entry_a_minute(world: World, alice: BrowserSession) -> None:
    answers = [alice.get("/my-record/archive.json").status_code for _ in range(30)]
    assert answers.count(429) == 10
    assert refusals(world) == [(world.alice.account_id, "portal.record_files 429")]


def test_a_stranger_who_guesses_passwords_fast_leaves_one_entry_a_minute(
    world: World, client: FlaskClient
) -> None:
    wrong = {"email": "alice@example.org", "password": "guess"}
    answers = [send(client, "/sign-in", wrong).status_code for _ in range(15)]
    assert 429 in answers
    assert refusals(world) == [("unknown", "portal.sign_in 429")]


def test_who_is_not_signed_in_leaves_nothing(world: World, client: FlaskClient) -> None:
    client.post("/account/consents", data={})
    client.get("/cases/" + "0" * 32)
    client.get("/nothing/here")
    send(client, "/register", {})
    assert refusals(world) == []
