"""Pictures are opened in the viewer's browser; the portal passes ciphertext and sealed keys on."""

import base64
import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from clinic.audit_event import AuditAction
from clinic.envelope import Context, EnvelopeError, open_body, parse_header, unwrap
from clinic.keeper_protocol import RECIPIENT_KID, ObjectKind
from clinic.records import submissions
from clinic.records.db import database_now
from clinic.records.models import KeyRequest, LoginSession, Submission
from clinic.records.review_queue import CLAIM_LIFE
from clinic.submission import CaseState
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    JSON,
    ask_for_pictures,
    both_databases,
    entries,
    object_of,
    viewer_key,
)
from tests.world import PHOTO, World

SignedIn = Callable[[str], BrowserSession]


def ask(browser: BrowserSession, case: str, body: Any, **headers: str) -> Any:
    sent = {"X-CSRFToken": browser.csrf_token(), **JSON, **headers}
    return browser.client.post(f"/cases/{case}/grants", json=body, headers=sent)


def opened(browser: BrowserSession, case: str) -> dict[str, list[bytes]]:
    """What a page of this browser can open, by kind, in the order of the answer."""
    private, body = viewer_key()
    grant = browser.get(ask(browser, case, body).json["url"]).json
    found: dict[str, list[bytes]] = {}
    for one in grant["objects"]:
        found.setdefault(one["type"], []).append(open_one(browser, case, one, private))
    return found


def open_one(
    browser: BrowserSession, case: str, one: dict[str, Any], private: X25519PrivateKey
) -> bytes:
    header = parse_header(one["header"])
    file_key = unwrap(header, kid=RECIPIENT_KID, private_key=private)
    expected = Context(submission=case, slot=one["slot"], type=one["type"])
    return open_body(header, browser.get(one["url"]).data, file_key=file_key, expected=expected)


@both_databases
def test_the_reader_opens_rendition_and_heat_map_with_a_key_of_the_page(
    world: World, signed_in: SignedIn
) -> None:
    case = world.first_read(world.alice, world.bob)

    found = opened(signed_in("bob"), case)

    assert found.keys() == {"rendition", "heatmap"}
    assert found["rendition"][0].startswith(b"\xff\xd8\xff")
    assert found["heatmap"] == [b"\x89PNG heat-map", b"\x89PNG another map"]


def test_a_patient_opens_the_own_photo_and_never_the_heat_map(
    world: World, signed_in: SignedIn
) -> None:
    signed, waiting = world.signed(world.alice, world.bob), world.submit(world.alice)
    alice = signed_in("alice")

    assert opened(alice, waiting) == {"photo": [PHOTO]}
    assert opened(alice, signed).keys() == {"rendition"}


def test_who_takes_the_record_along_gets_replaced_photos_too_and_the_reader_none(
    world: World, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        row.case_state, row.retake_reason = CaseState.UNREADABLE, "blurred"
        submissions.replace_photos(session, row)
    _, body = viewer_key()
    alice, bob = signed_in("alice"), signed_in("bob")

    asked = ask(alice, case, body | {"replaced": True})
    found = alice.get(asked.json["url"]).json["objects"]
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        row.case_state, row.urgency = CaseState.AWAITING_REVIEW, 1
        row.claimed_by = world.bob.account_id
        row.claim_until = database_now(session) + CLAIM_LIFE
    by_the_reader = ask(bob, case, body | {"replaced": True}).json["grant"]

    assert [(one["type"], one["replaced"]) for one in found] == [("photo", True)]
    with world.sessions() as session:
        assert not session.get_one(KeyRequest, by_the_reader).object_ids


@both_databases
def test_the_reader_of_a_later_visit_opens_the_photos_of_an_earlier_one(
    world: World, signed_in: SignedIn
) -> None:
    earlier, bob = world.signed(world.alice, world.dan), signed_in("bob")
    _, body = viewer_key()
    assert ask(bob, earlier, body).status_code == 403

    later = world.claimed(world.alice, world.bob)
    found = opened(bob, earlier)

    assert found.keys() == {"rendition"}
    assert found["rendition"][0].startswith(b"\xff\xd8\xff")
    assert bob.get(f"/objects/{object_of(world, earlier, ObjectKind.HEATMAP)}").status_code == 403
    assert bob.get(f"/review/{earlier}").status_code == 403
    assert f'data-visit="{earlier}"' in bob.get(f"/review/{later}").text
    asked = [one for one in entries(world, AuditAction.KEYS_ASKED) if one.allowed]
    assert [(one.submission_id, one.actor) for one in asked] == [(earlier, world.bob.account_id)]

    with world.sessions() as session, session.begin():
        session.get_one(Submission, later).claim_until = database_now(session)
    assert ask(bob, earlier, body).status_code == 403


def test_the_answer_opens_with_the_pages_own_key_alone(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    _, body = viewer_key()
    grant = bob.get(ask(bob, case, body).json["url"]).json
    header = parse_header(grant["objects"][0]["header"])

    assert [one.kid for one in header.recipients] == [RECIPIENT_KID]
    with pytest.raises(EnvelopeError):
        unwrap(header, kid=RECIPIENT_KID, private_key=X25519PrivateKey.generate())


def raw(length: int) -> str:
    return base64.b64encode(os.urandom(length)).decode()


WRONG_KEYS = [
    {},
    [],
    "text",
    {"public_key": None},
    {"public_key": 7},
    {"public_key": ""},
    {"public_key": raw(31)},
    {"public_key": raw(33)},
    {"public_key": "not base64!"},
    {"public_key": "é" * 44},
    {"public_key": "\ud800" * 44},
    {"public_key": raw(32)[:-1]},
]


@pytest.mark.parametrize("body", WRONG_KEYS)
def test_only_a_key_of_32_bytes_is_taken(world: World, signed_in: SignedIn, body: Any) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")

    answer = ask(bob, case, body)

    assert answer.status_code == 400
    assert answer.json["error"] == "The viewer's public key must be 32 bytes in base64."
    assert entries(world, AuditAction.KEYS_ASKED) == []


def test_a_request_without_the_forms_token_is_refused(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    _, body = viewer_key()

    assert bob.client.post(f"/cases/{case}/grants", json=body).status_code == 400


def test_a_grant_is_read_only_by_the_session_that_asked(world: World, signed_in: SignedIn) -> None:
    case = world.claimed(world.alice, world.bob)
    here, same_person_elsewhere, dan = signed_in("bob"), signed_in("bob"), signed_in("dan")
    url = ask_for_pictures(here.client, here.csrf_token(), case).json["url"]

    codes = [one.get(url).status_code for one in (here, same_person_elsewhere, dan)]

    assert codes == [200, 404, 404]


def test_while_the_keeper_has_not_answered_the_page_is_told_to_wait(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    world.hints.keeper = None
    url = ask_for_pictures(bob.client, bob.csrf_token(), case).json["url"]

    waiting = bob.get(url)
    world.keeper.answer(url.rpartition("/")[2])

    assert (waiting.status_code, waiting.json) == (202, {"state": "waiting"})
    assert bob.get(url).status_code == 200


def test_what_the_keeper_refuses_is_refused_in_words(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    world.hints.keeper = None
    url = ask_for_pictures(bob.client, bob.csrf_token(), case).json["url"]
    with world.sessions() as session, session.begin():
        asked = session.get_one(KeyRequest, url.rpartition("/")[2])
        asked.expires_at = database_now(session)
    world.keeper.answer(url.rpartition("/")[2])

    answer = bob.get(url)

    assert (answer.status_code, answer.json) == (
        403,
        {"error": "You may not open these pictures."},
    )


def test_with_the_broker_down_the_pictures_are_unavailable_and_nothing_is_in_clear(
    world: World, signed_in: SignedIn
) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    world.hints.down = True

    answer = ask_for_pictures(bob.client, bob.csrf_token(), case)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "20")
    assert answer.json["error"].startswith("The pictures cannot be opened at the moment.")
    body = bob.get(f"/objects/{object_of(world, case, ObjectKind.RENDITION)}")
    assert body.status_code == 200, "the ciphertext is still served"
    assert b"\xff\xd8\xff" not in body.data[:16]
    assert b"JFIF" not in body.data


def test_a_lost_hint_leaves_a_grant_that_expires(world: World, signed_in: SignedIn) -> None:
    """The page asks again after a while; the old request then opens nothing any more."""
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    world.hints.down = True
    ask_for_pictures(bob.client, bob.csrf_token(), case)
    with world.sessions() as session:
        asked = session.query(KeyRequest).filter_by(purpose="view").one()
    assert asked.state == "waiting"
    assert (asked.expires_at - asked.created_at).total_seconds() == 30


def test_every_fetch_is_audited(world: World, signed_in: SignedIn) -> None:
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")
    urls = [
        f"/objects/{object_of(world, case, kind)}"
        for kind in (ObjectKind.RENDITION, ObjectKind.HEATMAP)
    ]

    for url in [*urls, urls[0]]:
        bob.get(url)

    found = entries(world, AuditAction.OBJECT_FETCHED)
    assert [one.detail for one in found] == ["rendition", "heatmap", "rendition"]
    assert {(one.actor, one.submission_id, one.patient_id) for one in found} == {
        (world.bob.account_id, case, world.alice.patient_id)
    }


def test_asking_is_audited_on_both_sides(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")

    ask_for_pictures(bob.client, bob.csrf_token(), case)

    (asked,) = entries(world, AuditAction.KEYS_ASKED)
    assert (asked.actor, asked.submission_id) == (world.bob.account_id, case)
    assert entries(world, AuditAction.KEYS_RELEASED)[-1].submission_id == case


def test_an_object_of_another_case_is_refused(world: World, signed_in: SignedIn) -> None:
    world.claimed(world.alice, world.bob)
    others = world.claimed(world.alice, world.dan)
    url = f"/objects/{object_of(world, others, ObjectKind.RENDITION)}"

    assert signed_in("bob").get(url).status_code == 403
    assert entries(world, AuditAction.OBJECT_FETCHED) == []


def test_an_altered_body_is_not_served(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    rendition = object_of(world, case, ObjectKind.RENDITION)
    path = next(world.blobs.folder.rglob(rendition))
    path.chmod(0o600)
    body = path.read_bytes()
    path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))

    answer = bob.get(f"/objects/{rendition}")

    assert answer.status_code == 503
    assert answer.content_type.startswith("text/html")


def test_a_lost_body_is_unavailable(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    rendition = object_of(world, case, ObjectKind.RENDITION)
    next(world.blobs.folder.rglob(rendition)).unlink()

    assert bob.get(f"/objects/{rendition}").status_code == 503


def test_a_session_that_ended_meanwhile_gets_no_keys(world: World, signed_in: SignedIn) -> None:
    case, bob = world.claimed(world.alice, world.bob), signed_in("bob")
    world.hints.keeper = None
    request_id = ask_for_pictures(bob.client, bob.csrf_token(), case).json["grant"]
    with world.sessions() as session, session.begin():
        for login in session.query(LoginSession):
            login.ended_at = database_now(session)

    world.keeper.answer(request_id)

    with world.sessions() as session:
        row = session.get_one(KeyRequest, request_id)
        assert (row.state, row.refusal) == ("refused", "the login session has ended")
