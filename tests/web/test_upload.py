"""Sending a spot: what is stored, what is refused, and what holds when a part is down."""

import errno
import io
import json
import re
import sqlite3
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, event
from urllib3 import encode_multipart_formdata
from werkzeug.test import TestResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.consent import ConsentDecision, Purpose
from clinic.envelope import Context, PublicKey, seal
from clinic.records import clinics, consents, first_reads, keys, review, submissions
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, Clinic, EpochKeyRow, SealedObject, Submission
from clinic.submission import CaseState, ScreeningState
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    CASE,
    JSON,
    as_file,
    both_databases,
    count,
    entries,
    row_of,
    sealed_photo,
    sealed_rows,
    words,
)
from tests.world import PHOTO, World, jpeg
from web.database import db
from worker.screen_submission import screen

SignedIn = Callable[[str], BrowserSession]
DAY = timedelta(days=1)


@pytest.fixture
def alice(signed_in: SignedIn) -> BrowserSession:
    return signed_in("alice")


def send_sealed(
    browser: BrowserSession, container: bytes | None, submission_id: str, **kwargs: Any
) -> TestResponse:
    """The form as the page's script sends it."""
    fields: dict[str, Any] = {**CASE, "submission_id": submission_id, **kwargs.pop("answers", {})}
    if container is not None:
        fields["sealed_close_up"] = as_file(container, "sealed")
    return browser.post("/cases/new", fields, headers=JSON, **kwargs)


def send_plain(browser: BrowserSession, photo: bytes, submission_id: str = "") -> TestResponse:
    """The form as a browser without JavaScript sends it."""
    fields = {**CASE, "submission_id": submission_id, "photo_close_up": as_file(photo)}
    return browser.post("/cases/new", fields)


@both_databases
def test_a_sealed_photo_is_taken_and_its_case_waits_for_screening(
    world: World, alice: BrowserSession
) -> None:
    page = alice.get("/cases/new").text
    submission_id = re.search(r'data-submission="([0-9a-f]{32})"', page).group(1)
    container = sealed_photo(world, submission_id, PHOTO)

    answer = send_sealed(alice, container.to_bytes(), submission_id)

    assert (answer.status_code, answer.json) == (202, {"location": f"/cases/{submission_id}"})
    row = row_of(world, submission_id)
    assert (row.case_state, row.screening_state) == (CaseState.RECEIVED, ScreeningState.QUEUED)
    assert (row.patient_id, row.clinic_id) == (world.alice.patient_id, world.clinic_id)
    stored = {one.kind: one for one in sealed_rows(world, submission_id)}
    assert stored.keys() == {"photo", "history"}
    assert stored["photo"].sealed_by == "browser"
    assert world.blobs.get(stored["photo"].id) == container.body
    assert len(entries(world, AuditAction.SUBMISSION_RECEIVED)) == 1
    assert world.hints.sent == [], "the relay sends the hint, the request must not wait for it"


def test_without_javascript_the_photo_is_sealed_at_once(
    world: World, alice: BrowserSession
) -> None:
    answer = send_plain(alice, PHOTO)

    assert answer.status_code == 303
    case = answer.location.rpartition("/")[2]
    photo = next(one for one in sealed_rows(world, case) if one.kind == "photo")
    assert photo.sealed_by == "server"
    assert PHOTO[1000:1100] not in world.blobs.get(photo.id)
    assert screen(world.screening(), case) == 1
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW


@both_databases
def test_the_same_form_sent_twice_is_one_case(world: World, alice: BrowserSession) -> None:
    submission_id = new_id()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()

    first, again = (send_sealed(alice, container, submission_id) for _ in range(2))

    assert first.json == again.json
    assert (count(world, Submission), len(sealed_rows(world, submission_id))) == (1, 2)


@both_databases
def test_twenty_simultaneous_sendings_of_one_form_are_one_case(
    app: Flask, world: World, alice: BrowserSession
) -> None:
    submission_id, token = new_id(), alice.csrf_token()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()
    cookie = alice.client.get_cookie("dermqueue")

    def send(_: int) -> int:
        client = app.test_client()
        client.set_cookie("dermqueue", cookie.value)
        fields = {**CASE, "submission_id": submission_id, "csrf_token": token}
        fields["sealed_close_up"] = as_file(container, "sealed")
        return client.post("/cases/new", data=fields, headers=JSON).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(send, range(20)))

    assert codes == [202] * 20
    assert count(world, Submission) == 1
    assert len(sealed_rows(world, submission_id)) == 2
    assert len(entries(world, AuditAction.SUBMISSION_RECEIVED)) == 1


def test_a_form_id_of_another_patient_is_refused(world: World, alice: BrowserSession) -> None:
    carols = world.submit(world.carol)

    answer = send_sealed(alice, sealed_photo(world, carols, PHOTO).to_bytes(), carols)

    assert answer.status_code == 409
    assert row_of(world, carols).patient_id == world.carol.patient_id
    assert count(world, Submission) == 1


def test_a_form_id_of_another_clinic_s_case_is_refused_in_the_same_words(
    world: World, alice: BrowserSession
) -> None:
    henry = world.add_person("henry", Role.PATIENT, clinic_id=world.other_clinic_id)
    carols, henrys = world.submit(world.carol), world.submit(henry)

    answers = [
        send_sealed(alice, sealed_photo(world, one, PHOTO).to_bytes(), one)
        for one in (carols, henrys)
    ]

    assert [one.status_code for one in answers] == [409, 409]
    assert answers[0].json == answers[1].json
    assert row_of(world, henrys).patient_id == henry.patient_id
    assert count(world, Submission) == 2


def test_a_closed_clinic_takes_no_new_case_but_shows_the_old_ones(
    world: World, alice: BrowserSession
) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        clinics.close(session, session.get_one(Clinic, world.clinic_id))

    answer = send_plain(alice, PHOTO)

    assert answer.status_code == 403
    assert "Your clinic takes no new cases." in answer.text
    assert count(world, Submission) == 1
    assert alice.get(f"/cases/{case}").status_code == 200
    assert [one.detail for one in entries(world, AuditAction.ACCESS_DENIED)] == ["clinic closed"]


@pytest.mark.parametrize("submission_id", ["short", "g" * 32, "../" * 10 + "aa", "A" * 32])
def test_a_form_id_of_another_shape_is_refused(
    world: World, alice: BrowserSession, submission_id: str
) -> None:
    assert send_sealed(alice, None, submission_id).status_code == 400
    assert count(world, Submission) == 0


STOPS = [
    ({"emergency_signs": ["swollen_face"]}, "Get help now"),
    ({"site": "genital"}, "This needs to be seen in person"),
    ({"spot_count": "3"}, "Please have your skin checked in person"),
    ({"can_be_photographed": "no"}, "Please have the spot seen in person"),
]


@pytest.mark.parametrize(("answers", "title"), STOPS)
def test_a_stop_rule_shows_its_card_and_stores_nothing(
    world: World, alice: BrowserSession, answers: dict[str, Any], title: str
) -> None:
    submission_id = new_id()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()
    as_json = send_sealed(alice, container, submission_id, answers=answers)
    as_page = alice.post("/cases/new", {**CASE, **answers, "photo_close_up": as_file(PHOTO)})

    assert (as_json.status_code, as_page.status_code) == (422, 422)
    assert as_json.json["errors"][0]["message"].startswith(title)
    assert title in as_page.text
    assert count(world, Submission) == 0
    assert not list(world.blobs.folder.rglob("*"))


def test_an_emergency_is_answered_even_if_the_form_is_not_finished(alice: BrowserSession) -> None:
    answer = alice.post("/cases/new", {"emergency_signs": ["blisters"]})

    assert "Get help now" in answer.text


def test_a_child_needs_a_named_adult(world: World, alice: BrowserSession) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        birth = (database_now(session) - 12 * 365 * DAY).date().isoformat()
        account.birth_date_sealed = world.secrets.seal(
            birth, account_id=account.id, column="birth_date"
        )
    alone, helped = new_id(), new_id()

    answers = [
        send_sealed(
            alice,
            sealed_photo(world, one, PHOTO).to_bytes(),
            one,
            answers={"responsible_adult": adult},
        )
        for one, adult in ((alone, ""), (helped, "Ann Adult"))
    ]

    assert [answer.status_code for answer in answers] == [422, 202]
    assert "A parent or guardian must send this" in answers[0].text


def test_a_form_without_a_photo_says_which_one_is_missing(
    world: World, alice: BrowserSession
) -> None:
    answer = send_sealed(alice, None, new_id())

    assert answer.status_code == 422
    assert answer.json["errors"] == [
        {"field": "photo_close_up", "message": "Add a photo: close-up photo."}
    ]
    assert count(world, Submission) == 0


def test_missing_answers_are_named_one_by_one(alice: BrowserSession) -> None:
    answer = alice.post("/cases/new", {"site": "back"}, headers=JSON)

    named = {error["field"] for error in answer.json["errors"]}
    assert answer.status_code == 422
    assert {"side", "onset", "sex", "bleeding", "change_in_size"} <= named
    assert "site" not in named


@pytest.mark.parametrize("data", [b"GIF89a and more", b"<svg onload=alert(1)>", b"%PDF-1.7", b""])
def test_a_file_that_is_no_photo_is_refused_in_words(
    world: World, alice: BrowserSession, data: bytes
) -> None:
    answer = send_plain(alice, data)

    assert answer.status_code == 422
    assert "This file is not a photo we can use. Send a JPEG, PNG or WebP" in words(answer.text)
    assert count(world, SealedObject) == 2, "only the identities of the two patients"


NAMES = ["../../etc/cron.d/x", "..\\x.html", "/etc/passwd", "x.svg", "C:\\x.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_a_photo_is_kept_under_a_name_of_our_own_and_served_as_sealed_bytes(
    world: World, alice: BrowserSession, name: str
) -> None:
    sent = {**CASE, "photo_close_up": (io.BytesIO(PHOTO), name, "text/html")}
    case = alice.post("/cases/new", sent).location.rpartition("/")[2]
    photo = next(one for one in sealed_rows(world, case) if one.kind == "photo")

    files = [path for path in world.blobs.folder.rglob("*") if path.is_file()]
    served = alice.get(f"/objects/{photo.id}")

    assert [path.name for path in files] == [photo.id]
    assert served.status_code == 200
    assert PHOTO[:100] not in served.data
    assert {
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }.items() <= dict(served.headers).items()


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def places(container: bytes) -> dict[str, int]:
    """Where to flip a bit so that the web tier, which has no key, can notice it."""
    (length,) = struct.unpack(">I", container[:4])
    header = container[4 : 4 + length]
    return {
        "length": 0,
        "version": 4 + header.index(b"dseal/1"),
        "submission": 4 + header.index(b"submission") + 15,
        "kid": 4 + header.index(b"epoch-"),
        "json": 4,
    }


@pytest.mark.parametrize("where", ["length", "version", "submission", "kid", "json"])
def test_a_flipped_bit_in_the_sealed_header_is_refused_in_words(
    world: World, alice: BrowserSession, where: str
) -> None:
    submission_id = new_id()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()

    answer = send_sealed(alice, flipped(container, places(container)[where]), submission_id)

    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "photo_close_up"
    assert "again" in answer.json["errors"][0]["message"]
    assert count(world, Submission) == 0


def test_a_cut_container_is_refused(world: World, alice: BrowserSession) -> None:
    submission_id = new_id()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()

    for rest in (container[:3], container[:200], b""):
        answer = send_sealed(alice, rest, submission_id)
        assert (answer.status_code, answer.json["errors"][0]["message"]) == (
            422,
            "A photo arrived damaged. Please send it again.",
        )


def test_a_container_of_another_case_is_refused(world: World, alice: BrowserSession) -> None:
    other = sealed_photo(world, new_id(), PHOTO).to_bytes()
    submission_id = new_id()
    another_slot = sealed_photo(world, submission_id, PHOTO, slot=2).to_bytes()

    for container in (other, another_slot):
        answer = send_sealed(alice, container, submission_id)
        assert answer.status_code == 422
        assert "belongs to another form" in answer.text


def retire_epoch(world: World) -> None:
    with world.sessions() as session, session.begin():
        for row in session.query(EpochKeyRow):
            row.not_after = database_now(session) - DAY
        keys.publish_epoch(session, world.master, world.root_private)


def test_a_container_for_a_retired_key_asks_to_load_the_page_again(
    world: World, alice: BrowserSession
) -> None:
    submission_id = new_id()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()
    retire_epoch(world)

    answer = send_sealed(alice, container, submission_id)

    assert answer.status_code == 422
    assert "Load it again, then choose the photo again." in answer.text
    fresh = sealed_photo(world, submission_id, PHOTO).to_bytes()
    assert send_sealed(alice, fresh, submission_id).status_code == 202


def test_a_container_for_an_unknown_or_a_second_key_is_refused(
    world: World, alice: BrowserSession
) -> None:
    submission_id = new_id()
    own = Context(submission=submission_id, slot=1, type="photo")
    stranger = PublicKey(kid="epoch-of-somebody", raw=b"\x05" * 32)
    with world.sessions() as session:
        clinic = keys.sealing_recipient(session, world.root_public_key)

    for recipients in ([stranger], [clinic, stranger]):
        container = seal(PHOTO, context=own, recipients=recipients).to_bytes()
        assert send_sealed(alice, container, submission_id).status_code == 422


class UnreadBody:
    """A request body that nobody may read."""

    was_read = False

    def read(self, *_: int) -> bytes:
        self.was_read = True
        return b""

    readline = readinto = read


@pytest.mark.parametrize("path", ["/cases/new", "/sign-in"])
def test_a_body_over_the_limit_is_refused_before_it_is_read(
    alice: BrowserSession, path: str
) -> None:
    body = UnreadBody()

    answer = alice.client.post(
        path,
        content_type="multipart/form-data; boundary=x",
        headers=JSON,
        environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": str(61 * 1024**2)},
    )

    assert answer.status_code == 413
    assert "fewer or smaller photos" in answer.json["error"]
    assert not body.was_read


def test_a_form_with_too_many_parts_is_refused(alice: BrowserSession) -> None:
    many = {f"part-{number}": as_file(b"x") for number in range(101)}

    assert alice.post("/cases/new", many).status_code == 413


def send_large(
    browser: BrowserSession, submission_id: str, name: str, data: bytes, headers: dict[str, str]
) -> TestResponse:
    """Encoded in memory: Werkzeug's test client would leave a temporary file open."""
    fields = {**CASE, "submission_id": submission_id, "csrf_token": browser.csrf_token()}
    body, kind = encode_multipart_formdata({**fields, name: ("photo.jpg", data, "image/jpeg")})
    return browser.client.post("/cases/new", data=body, content_type=kind, headers=headers)


@pytest.mark.parametrize("name", ["sealed_close_up", "photo_close_up"])
@pytest.mark.parametrize("headers", [{}, JSON])
def test_a_photo_of_26_mb_is_refused_in_words_and_audited(
    world: World, alice: BrowserSession, name: str, headers: dict[str, str]
) -> None:
    submission_id, huge = new_id(), PHOTO[:3] + bytes(26 * 1024**2)
    container = sealed_photo(world, submission_id, huge).to_bytes()
    data = container if name.startswith("sealed") else huge

    answer = send_large(alice, submission_id, name, data, headers)

    assert answer.status_code == 413
    assert "This photo is too large. Send one below 25 MB." in answer.text
    assert count(world, Submission) == 0
    (entry,) = entries(world, AuditAction.PHOTOS_REFUSED)
    assert (entry.allowed, entry.detail) == (False, "close_up 413")


def test_a_photo_of_25_mb_is_taken_sealed(world: World, alice: BrowserSession) -> None:
    submission_id = new_id()
    container = sealed_photo(world, submission_id, bytes(25 * 1024**2)).to_bytes()

    answer = send_large(alice, submission_id, "sealed_close_up", container, JSON)

    assert answer.status_code == 202


@pytest.mark.parametrize("data", [b"junk", b"\0" * 5000, b"[" * 5000])
def test_junk_in_place_of_a_sealed_photo_is_refused_with_one_audit_entry(
    world: World, alice: BrowserSession, data: bytes
) -> None:
    answer = send_sealed(alice, data, new_id())

    assert answer.status_code == 422
    assert "A photo arrived damaged" in answer.text
    (entry,) = entries(world, AuditAction.PHOTOS_REFUSED)
    assert (entry.actor, entry.patient_id) == (world.alice.account_id, world.alice.patient_id)


def sent_earlier(world: World, number: int, *, hours_ago: float) -> None:
    """So many photos of Alice in one case of the past."""
    case = world.submit(world.alice, photos={f"view {n}": b"x" for n in range(number)})
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(hours=hours_ago)
        for row in session.query(SealedObject).filter_by(submission_id=case, kind="photo"):
            row.created_at = past


@both_databases
def test_the_101st_photo_of_a_day_is_refused_until_the_day_is_over(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    sent_earlier(world, 99, hours_ago=23.9)
    hundredth, refused, carols = new_id(), new_id(), new_id()

    def send(browser: BrowserSession, case: str) -> TestResponse:
        return send_sealed(browser, sealed_photo(world, case, PHOTO).to_bytes(), case)

    assert send(alice, hundredth).status_code == 202
    answer = send(alice, refused)

    assert answer.status_code == 429
    message = answer.json["errors"][0]["message"]
    assert message == "You can send 100 photos in 24 hours. Try again tomorrow."
    assert count(world, Submission) == 2
    assert len(entries(world, AuditAction.PHOTOS_REFUSED)) == 1
    assert send(signed_in("carol"), carols).status_code == 202


def test_photos_of_yesterday_do_not_count(world: World, alice: BrowserSession) -> None:
    sent_earlier(world, 100, hours_ago=24.1)
    submission_id = new_id()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()

    assert send_sealed(alice, container, submission_id).status_code == 202


def test_with_the_broker_down_a_case_is_still_taken(world: World, alice: BrowserSession) -> None:
    world.hints.down = True
    submission_id = new_id()

    answer = send_sealed(alice, sealed_photo(world, submission_id, PHOTO).to_bytes(), submission_id)

    assert answer.status_code == 202
    assert row_of(world, submission_id).screening_state == ScreeningState.QUEUED


def lose_database(engine: Engine) -> None:
    """Every new connection fails, and none is kept."""

    @event.listens_for(engine, "do_connect")
    def _refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    engine.dispose()


@pytest.mark.parametrize("headers", [{}, JSON])
def test_with_the_database_down_the_answer_is_503_and_says_when_to_come_again(
    app: Flask, alice: BrowserSession, headers: dict[str, str]
) -> None:
    token = alice.csrf_token()
    with app.app_context():
        lose_database(db.engine)

    answers = [
        alice.client.post("/cases/new", data={**CASE, "csrf_token": token}, headers=headers),
        alice.get("/cases/new", headers=headers),
    ]

    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "20")
        assert "What you sent before is safe." in answer.text
        assert "Traceback" not in answer.text
        assert "sqlite" not in answer.text.lower()


def test_a_full_disk_is_answered_with_507_and_leaves_no_half_case(
    world: World, alice: BrowserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    submission_id, token = new_id(), alice.csrf_token()
    container = sealed_photo(world, submission_id, PHOTO).to_bytes()
    fields = {**CASE, "submission_id": submission_id, "csrf_token": token}
    before = count(world, SealedObject)
    monkeypatch.setattr("clinic.records.blob_folder.os.fsync", full)

    answer = alice.client.post(
        "/cases/new", data={**fields, "sealed_close_up": as_file(container)}, headers=JSON
    )

    assert answer.status_code == 507
    assert "Nothing was sent" in answer.json["error"]
    assert (count(world, Submission), count(world, SealedObject)) == (0, before)
    assert not [path for path in world.blobs.folder.rglob("*") if path.is_file()]


def test_without_a_clinic_key_nothing_can_be_sent(world: World, alice: BrowserSession) -> None:
    with world.sessions() as session, session.begin():
        for row in session.query(EpochKeyRow):
            row.not_after = database_now(session) - DAY

    page, sent = alice.get("/cases/new"), send_plain(alice, PHOTO)

    for answer in (page, sent):
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert count(world, Submission) == 0


def change_consents(browser: BrowserSession, **given: str) -> None:
    assert browser.post("/account/consents", given).status_code == 302


def test_a_refused_computer_is_stored_with_the_case(world: World, alice: BrowserSession) -> None:
    permitted, refused = new_id(), new_id()
    change_consents(alice, consent_ai="y")
    send_sealed(alice, sealed_photo(world, permitted, PHOTO).to_bytes(), permitted)
    screen(world.screening(), None)
    change_consents(alice)
    send_sealed(alice, sealed_photo(world, refused, PHOTO).to_bytes(), refused)
    screen(world.screening(), None)

    assert row_of(world, permitted).ai_permitted
    assert not row_of(world, refused).ai_permitted
    assert len(world.analyst.seen) == 1


@pytest.mark.parametrize("research", [{}, {"consent_research": "y", "consent_teaching": "y"}])
def test_research_consent_changes_nothing_about_the_care(
    world: World, alice: BrowserSession, research: dict[str, str]
) -> None:
    change_consents(alice, consent_ai="y", **research)
    submission_id = new_id()

    answer = send_sealed(alice, sealed_photo(world, submission_id, PHOTO).to_bytes(), submission_id)

    assert answer.status_code == 202
    assert row_of(world, submission_id).ai_permitted


def ask_for_retake(bob: BrowserSession, case: str) -> None:
    answer = bob.post(f"/review/{case}/retake", {"reasons": ["blur"], "message": "Go to a window."})
    assert answer.status_code == 302


@both_databases
def test_new_photos_take_the_place_of_those_that_could_not_be_read(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    ask_for_retake(signed_in("bob"), case)
    page = alice.get(f"/cases/{case}").text
    for sentence in ("Tap on the spot to focus and hold still.", "Go to a window."):
        assert sentence in page
    slot = int(re.search(r'data-view="close_up" data-slot="(\d+)"', page).group(1))
    container = sealed_photo(world, case, jpeg(4), slot=slot).to_bytes()

    answer = alice.post(
        f"/cases/{case}/photos", {"sealed_close_up": as_file(container)}, headers=JSON
    )

    assert (answer.status_code, answer.json) == (202, {"location": f"/cases/{case}"})
    row = row_of(world, case)
    assert (row.case_state, row.screening_state) == (CaseState.RECEIVED, ScreeningState.QUEUED)
    current = [(one.kind, one.slot) for one in sealed_rows(world, case) if one.current]
    assert sorted(current) == [("history", 0), ("photo", slot)]
    screen(world.screening(), case)
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW
    assert "could not tell" not in alice.get(f"/cases/{case}").text


@both_databases
def test_a_replaced_photo_is_read_blind_again(world: World, signed_in: SignedIn) -> None:
    """The reader saw the computer's view of the old photo, and none of the new one."""
    case = world.first_read(world.alice, world.bob)
    ask_for_retake(signed_in("bob"), case)
    with world.sessions() as session, session.begin():
        submissions.replace_photos(session, session.get_one(Submission, case))
        assert first_reads.find(session, case) is None
        assert review.result_of(session, case) is None


def test_a_damaged_new_photo_leaves_the_case_as_it_was(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    ask_for_retake(signed_in("bob"), case)
    container = sealed_photo(world, new_id(), PHOTO, slot=4).to_bytes()

    as_json = alice.post(
        f"/cases/{case}/photos", {"sealed_close_up": as_file(container)}, headers=JSON
    )
    as_page = alice.post(f"/cases/{case}/photos", {"photo_close_up": as_file(b"GIF89a")})

    assert (as_json.status_code, as_page.status_code) == (422, 303)
    assert "not a photo we can use" in alice.get(as_page.location).text
    assert row_of(world, case).case_state == CaseState.UNREADABLE


def test_the_page_gives_the_signed_clinic_key_and_fresh_form_ids(
    world: World, alice: BrowserSession
) -> None:
    first, second = (alice.get("/cases/new").text for _ in range(2))

    ids = {re.search(r'data-submission="([0-9a-f]{32})"', one).group(1) for one in (first, second)}
    assert len(ids) == 2
    epoch = json.loads(re.search(r"data-epoch='([^']*)'", first).group(1).replace("&#34;", '"'))
    with world.sessions() as session:
        assert epoch == json.loads(keys.current_epoch(session).to_json())


def test_a_patient_who_withdrew_from_online_care_cannot_send(
    world: World, alice: BrowserSession
) -> None:
    with world.sessions() as session, session.begin():
        no = ConsentDecision(Purpose.TELEDERMATOLOGY, permitted=False)
        consents.record(session, world.alice.patient_id, [no])

    answer = send_plain(alice, PHOTO)

    assert answer.status_code == 403
    assert "not agreed to online care" in answer.text
    assert count(world, Submission) == 0
