"""Marked photos and texts go the whole way through the real processes; nothing that is kept holds
a marker, or any picture at all: temporary folders of every process, database files and their log,
the broker's dump and log, photo store, logs, backups."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from flask import Flask
from sqlalchemy import text

from clinic.access import Role
from clinic.records.models import Submission
from clinic.sealed_part import new_identity
from clinic.submission import CaseState
from tests.bundles import small_bundle
from tests.portal_tools import CASE, REGISTRATION
from tools.chaos import canary
from tools.installation import Installation
from tools.portal_client import PortalClient, csrf_token
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.running import Running, started
from web.app import create_backup_app
from web.services import EXTENSION

pytestmark = [pytest.mark.broker, pytest.mark.slow]

# How a picture begins, long enough to stand in no ciphertext by chance.
PICTURE_STARTS = {
    "PNG": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "EXIF": b"Exif\x00\x00",
}
STACKS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=STACKS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer | None]:
    """A database server of its own, whose files hold this installation and nothing else."""
    if request.param == "sqlite":
        yield None
        return
    with PostgresServer.started() as server:
        yield server


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where every process of the installation puts temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def running(
    tmp_path: Path,
    server: PostgresServer | None,
    temporary: Path,  # noqa: ARG001 - set before any process starts
) -> Iterator[Running]:
    url = server.fresh_database() if server else None
    installation = Installation(
        tmp_path / "clinic", free_port(), free_port(), tmp_path / "weights", url
    )
    small_bundle(installation.weights)
    with started(installation) as found:
        yield found
        installation.engine.dispose()


def send_both_ways(patient: PortalClient, photo: bytes) -> list[str]:
    """A case sealed in the browser, and one sent without JavaScript."""
    answers = {**CASE, "notes": canary.NOTES}
    sealed = patient.send_case(answers, {"close_up": photo})
    page = patient.get("/cases/new")
    number = re.search(r'data-submission="([0-9a-f]{32})"', page).group(1)
    fields = {**answers, "submission_id": number}
    fields["csrf_token"] = csrf_token(page)
    files = {"photo_close_up": ("photo.jpg", photo, "image/jpeg")}
    answer = patient._http.post("/cases/new", data=fields, files=files)
    assert answer.status_code == 303, answer.text
    return [sealed, number]


def state_of(running: Running, case: str) -> str:
    with running.installation.sessions()() as session:
        return session.get_one(Submission, case).case_state


def read_and_look(running: Running, cases: list[str]) -> None:
    person = running.people[Role.DERMATOLOGIST]
    reader = PortalClient(running.installation.base_url)
    reader.sign_in(person.email, person.password)
    reader.prove_second_factor(person.totp_secret or "")
    for case in cases:
        reader.post(f"/review/{case}/claim", {}, page=reader.get("/review"))
        desk = reader.get(f"/review/{case}")
        assert canary.NOTES in desk
        pictures = reader.pictures(case, page=desk)
        assert pictures
        assert all(one.data.startswith(b"\xff\xd8") for one in pictures)
    reader.close()


def back_up(running: Running, folder: Path) -> None:
    """The backup program's own app, with the settings of this installation."""
    changed = {
        "DERMQUEUE_BACKUP_DIR": str(folder),
        "DERMQUEUE_BACKUP_RECIPIENT": new_identity()[1],
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**running.installation.environment(), **changed}.items():
            environment.setenv(name, value)
        app: Flask = create_backup_app()
    result = app.test_cli_runner().invoke(args=["backup"])
    app.extensions[EXTENSION].restore.engine.dispose()
    assert result.exit_code == 0, result.output


def flush_to_files(running: Running, server: PostgresServer | None) -> None:
    with redis.Redis(port=running.installation.broker_port) as broker:
        broker.save()
    if server is not None:
        with running.installation.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("CHECKPOINT"))


def test_no_marker_and_no_picture_is_left_in_any_file(
    running: Running, server: PostgresServer | None, temporary: Path, tmp_path: Path
) -> None:
    photo = canary.marked_photo(7)
    patient = PortalClient(running.installation.base_url)
    form = {**REGISTRATION, "password": canary.PASSWORD, "family_name": canary.FAMILY_NAME}
    patient.post("/register", form, page=patient.get("/register"))
    cases = send_both_ways(patient, photo.data)
    for case in cases:
        running.await_result(case)
        assert state_of(running, case) == CaseState.AWAITING_REVIEW
    read_and_look(running, cases)
    patient.close()
    back_up(running, tmp_path / "backups")
    flush_to_files(running, server)

    places = dict(canary.stored_files(tmp_path))
    if server is not None:
        places |= {f"server {name}": data for name, data in canary.stored_files(server.data)}
    with running.installation.sessions()() as session:
        places |= dict(canary.stored_rows(session))

    assert_all_kinds_are_searched(places, on_server=server is not None)
    assert temporary.is_dir()
    wanted = {**canary.TEXT_MARKERS, **photo.markers, **PICTURE_STARTS}
    assert canary.leaks(iter(places.items()), wanted) == []


def assert_all_kinds_are_searched(places: dict[str, bytes], *, on_server: bool) -> None:
    """The search is worth something only if it looks where things are."""
    names = "\n".join(places)
    kinds = ["/blobs/", "/broker/dump.rdb", "/broker/appendonlydir/", "/logs/web.log"]
    kinds += ["backups/", "database.age", "table sealed_object"]
    kinds += ["server pg_wal/", "server base/"] if on_server else ["/dermqueue.db", "db-wal"]
    assert [kind for kind in kinds if kind not in names] == []


@pytest.mark.parametrize("kind", PICTURE_STARTS)
def test_the_search_would_find_a_picture(kind: str) -> None:
    places = iter([("spool", b"x" * 90 + PICTURE_STARTS[kind] + b"y" * 90)])
    assert len(canary.leaks(places, PICTURE_STARTS)) == 1
