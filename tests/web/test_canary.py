"""A photo and texts with known markers go the whole way; nothing that is kept holds a marker."""

import io
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import werkzeug.formparser
from flask import Flask
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from clinic.hints import CeleryHints
from clinic.keeper_protocol import ObjectKind
from clinic.records.db import SessionFactory
from clinic.submission import CaseState
from tests.browser_session import BrowserSession
from tests.fakes import InlineHints
from tests.portal_tools import (
    CASE,
    DECISION,
    FIRST_READ,
    JSON,
    REGISTRATION,
    as_file,
    ask_for_pictures,
    both_databases,
    row_of,
    sealed_photo,
    send,
    stored_bytes,
    table_bytes,
)
from tests.world import World, build, history
from worker.screen_submission import screen

PHOTO_MARKER = b"CANARY-IN-THE-PHOTO"
MARKERS = {
    "photo": PHOTO_MARKER,
    "notes": b"CANARY-IN-THE-NOTES",
    "family name": b"Canaryfamily",
    "e-mail": b"canary.person@example.com",
    "clinical note": b"CANARY-IN-THE-CLINICAL-NOTE",
    "letter": b"CANARY-IN-THE-LETTER",
    "password": b"canary password of five words",
}
SignedIn = Callable[[str], BrowserSession]


def marked_photo() -> bytes:
    """A JPEG above the size that Werkzeug would spool, with markers in EXIF and behind its end."""
    noise = np.random.default_rng(7).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    image, exif = Image.fromarray(noise), Image.Exif()
    exif[0x010E] = PHOTO_MARKER.decode()  # ImageDescription
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, exif=exif)
    data = out.getvalue() + PHOTO_MARKER * 100
    assert len(data) > 600_000
    assert data.count(PHOTO_MARKER) > 100
    return data


@dataclass
class ThroughTheBroker(InlineHints):
    """Hints that really travel through the broker, and are carried out here at once as well."""

    broker: CeleryHints | None = None

    def send(self, task: str, *ids: str) -> None:
        assert self.broker is not None
        self.broker.send(task, *ids)
        super().send(task, *ids)


@pytest.fixture
def world(sessions: SessionFactory, tmp_path: Path, broker_url: str) -> World:
    world = build(sessions, tmp_path)
    world.hints = ThroughTheBroker(world.keeper, broker=CeleryHints(broker_url))
    return world


@pytest.fixture(autouse=True)
def own_temporary_folder(
    database_url: str,  # noqa: ARG001 - the servers start before, in folders of their own
    broker_url: str,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Temporary files land where the search looks; a spooled upload fails the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def spooled(*_: object, **__: object) -> None:
        raise AssertionError("an upload was about to be written to a temporary file")

    monkeypatch.setattr(werkzeug.formparser, "SpooledTemporaryFile", spooled)


@pytest.fixture(autouse=True)
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Everything that anybody logs from the level of an installation upwards."""
    path = tmp_path / "everything.log"
    handler, root = logging.FileHandler(path), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield path
    root.removeHandler(handler)
    root.setLevel(before)
    handler.close()


def register(app: Flask) -> BrowserSession:
    form = {
        **REGISTRATION,
        "email": MARKERS["e-mail"].decode(),
        "family_name": MARKERS["family name"].decode(),
        "password": MARKERS["password"].decode(),
    }
    client = app.test_client()
    assert send(client, "/register", form).status_code == 302
    return BrowserSession(client)


def post_form(patient: BrowserSession, form: dict[str, Any], **kwargs: Any) -> TestResponse:
    """Send a large form; the test client itself would write it to a temporary file."""
    files = {name: FileStorage(*one) for name, one in form.items() if isinstance(one, tuple)}
    fields = {**form, **files, "csrf_token": patient.csrf_token()}
    boundary, body = encode_multipart(fields)
    kind = f"multipart/form-data; boundary={boundary}"
    return patient.client.post("/cases/new", data=body, content_type=kind, **kwargs)


ANSWERS = {**CASE, "notes": MARKERS["notes"].decode()}


def send_sealed(world: World, patient: BrowserSession) -> str:
    page = patient.get("/cases/new").text
    case = re.search(r'data-submission="([0-9a-f]{32})"', page).group(1)
    container = sealed_photo(world, case, marked_photo()).to_bytes()
    form = {**ANSWERS, "submission_id": case, "sealed_close_up": as_file(container)}
    assert post_form(patient, form, headers=JSON).status_code == 202
    return case


def send_without_javascript(_: World, patient: BrowserSession) -> str:
    form = {**ANSWERS, "photo_close_up": as_file(marked_photo())}
    answer = post_form(patient, form)
    assert answer.status_code == 303
    return answer.location.rpartition("/")[2]


def read_and_sign(bob: BrowserSession, case: str) -> None:
    """Every page that a reader passes, to the signature."""
    bob.get("/review")
    bob.post(f"/review/{case}/claim")
    desk = bob.get(f"/review/{case}").text
    assert MARKERS["notes"].decode() in desk
    assert MARKERS["family name"].decode() not in bob.get("/review").text
    assert ask_for_pictures(bob.client, bob.csrf_token(), case).status_code == 202
    bob.post(f"/review/{case}/first-read", FIRST_READ)
    decision = {
        **DECISION,
        "clinical_note": MARKERS["clinical note"].decode(),
        "patient_text": MARKERS["letter"].decode(),
        "plan": "in_person",
    }
    assert MARKERS["letter"].decode() in bob.post(f"/review/{case}/sign", decision).text
    signed = bob.post(f"/review/{case}/sign", {**decision, "action": "sign"})
    assert signed.location == f"/review/{case}"
    assert MARKERS["clinical note"].decode() in bob.get(f"/review/{case}").text


def found_markers(places: dict[str, bytes]) -> list[tuple[str, str]]:
    return [
        (place, name)
        for place, data in places.items()
        for name, marker in MARKERS.items()
        if marker.lower() in data.lower()
    ]


def broker_files(broker_url: str) -> dict[str, bytes]:
    """The append-only file, where every message stands."""
    with redis.Redis.from_url(broker_url) as connection:
        folder = Path(connection.config_get("dir")["dir"])
    for _ in range(100):
        files = {f"broker {name}": data for name, data in stored_bytes(folder)}
        if any(b"answer_key_request" in data for data in files.values()):
            return files
        time.sleep(0.05)
    raise AssertionError("no hint reached the broker's file")


@pytest.mark.broker
@both_databases
@pytest.mark.parametrize("send_case", [send_sealed, send_without_javascript])
def test_no_marker_is_left_anywhere(
    app: Flask,
    world: World,
    signed_in: SignedIn,
    tmp_path: Path,
    broker_url: str,
    send_case: Callable[[World, BrowserSession], str],
) -> None:
    patient = register(app)
    case = send_case(world, patient)
    assert screen(world.screening(), case) == 1
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW
    read_and_sign(signed_in("bob"), case)
    assert MARKERS["letter"].decode() in patient.get(f"/cases/{case}").text
    world.keeper.settle(row_of(world, case).patient_id)
    again = {"email": MARKERS["e-mail"].decode(), "password": "wrong", "next": "/cases"}
    send(app.test_client(), "/sign-in", again)

    places = dict(stored_bytes(tmp_path)) | broker_files(broker_url)
    places["tables"] = table_bytes(world)

    assert case.encode() in places["tables"], "the search finds what is in clear"
    assert len([place for place in places if place.startswith("blobs/")]) == 4
    assert found_markers(places) == []


def test_the_markers_reach_the_worker_and_end_there(app: Flask, world: World) -> None:
    """The photo that the worker opens has the marker; the rendition that people see has none."""
    seen: list[bytes] = []
    services = world.screening()

    def decode(data: bytes) -> object:
        seen.append(data)
        made = services.decode(data)
        assert PHOTO_MARKER not in made.data
        return made

    send_sealed(world, register(app))
    assert screen(world.screening(decode=decode), None) == 1

    assert [PHOTO_MARKER in data for data in seen] == [True]


def test_the_search_would_find_a_marker(tmp_path: Path) -> None:
    (tmp_path / "leak.bin").write_bytes(b"x" * 100 + PHOTO_MARKER.lower() + b"y")

    assert found_markers(dict(stored_bytes(tmp_path))) == [("leak.bin", "photo")]


def test_a_refused_form_shows_the_answers_again_and_keeps_nothing(
    app: Flask, world: World, tmp_path: Path
) -> None:
    patient = register(app)
    form = {name: value for name, value in ANSWERS.items() if name != "onset"}
    answer = post_form(patient, {**form, "photo_close_up": as_file(marked_photo())})

    assert (answer.status_code, MARKERS["notes"].decode() in answer.text) == (422, True)
    places = dict(stored_bytes(tmp_path)) | {"tables": table_bytes(world)}
    assert found_markers(places) == []


def test_a_failure_is_logged_without_what_was_sent(
    app: Flask, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = register(app)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr("web.portal.upload.submissions.create", broken)
    answer = post_form(patient, {**ANSWERS, "photo_close_up": as_file(marked_photo())})

    assert answer.status_code == 500
    logged = log_file.read_bytes()
    assert b"a fault of the program" in logged
    assert found_markers({"log": logged, "page": answer.data}) == []
    assert json.dumps(history().to_dict()).encode() not in logged
    assert ObjectKind.HISTORY.encode() not in answer.data
