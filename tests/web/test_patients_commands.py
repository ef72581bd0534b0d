"""`flask patients ...`: an erasure is asked for twice, done once, and told in words."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from clinic.erasure_ledger import ErasureLedger
from clinic.records.blobs import BlobStoreAwayError
from clinic.records.db import database_now
from clinic.records.models import Patient
from tests.world import World
from web.patients_commands import patients_commands
from web.services import EXTENSION, ErasureServices

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def ledger(tmp_path: Path) -> ErasureLedger:
    return ErasureLedger(tmp_path / "erasures.jsonl", b"a" * 32)


@pytest.fixture
def run(world: World, ledger: ErasureLedger) -> Any:
    """`flask patients ...` in the engineer's app."""
    app = Flask(__name__)
    app.extensions[EXTENSION] = ErasureServices(
        auditor=world.auditor,
        account_secrets=world.secrets,
        public_url="http://localhost:8000",
        sessions=world.sessions,
        blobs=world.blobs,
        eraser=replace(world.eraser, ledger=ledger),
    )
    app.cli.add_command(patients_commands)

    def call(*args: str, typed: str = "") -> Any:
        return app.test_cli_runner().invoke(args=["patients", *args], input=typed)

    return call


def number_of(world: World) -> str:
    with world.sessions() as session:
        return session.get_one(Patient, world.alice.patient_id).record_number


def test_an_erasure_names_what_goes_and_asks_first(run: Any, world: World) -> None:
    world.signed(world.alice, world.bob)
    number = number_of(world)

    declined = run("erase", number, typed="n\n")
    assert declined.exit_code == 1
    assert f"{number} ({world.alice.patient_id}): 1 cases, 1 signed reports" in declined.output
    assert number_of(world) == number

    done = run("erase", number, typed="y\n")
    assert done.exit_code == 0, done.output
    assert f"Erased patient {world.alice.patient_id}: 1 cases" in done.output
    assert "run `flask backup`" in done.output


def test_an_erased_patient_is_told_as_such_and_an_unknown_one_too(run: Any, world: World) -> None:
    run("erase", world.alice.patient_id, "--yes")
    again = run("erase", world.alice.patient_id, "--yes")
    unknown = run("erase", "DQ-NOBODY", "--yes")
    assert again.exit_code == unknown.exit_code == 1
    assert "This patient was erased on 20" in again.output
    assert "There is no patient with the record number or id DQ-NOBODY." in unknown.output


def test_without_a_ledger_nothing_is_erased(run: Any, world: World, ledger: ErasureLedger) -> None:
    ledger.path.mkdir()
    failed = run("erase", world.alice.patient_id, "--yes")
    assert failed.exit_code == 1
    assert "Nothing was erased; run it again. The erasure ledger" in failed.output
    assert number_of(world)


def test_a_photo_store_that_is_away_is_told_with_what_is_left(
    run: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(world.alice)

    def away(*_: object) -> None:
        raise BlobStoreAwayError("no answer")

    monkeypatch.setattr(type(world.blobs), "delete", away)
    failed = run("erase", world.alice.patient_id, "--yes")
    assert failed.exit_code == 1
    assert "The patient is erased, but bodies are still in the photo store" in failed.output
    assert "This patient was erased" in run("erase", world.alice.patient_id).output


def test_whose_record_is_due_is_listed_and_nothing_else_is_done(run: Any, world: World) -> None:
    assert "0 patients without contact" in run("due").output
    with world.sessions() as session, session.begin():
        patient = session.get_one(Patient, world.alice.patient_id)
        patient.created_at = database_now(session) - timedelta(days=3700)
    listed = run("due").output
    assert number_of(world) in listed
    assert "1 patients without contact since 20" in listed


def test_the_pages_tell_the_truth_about_an_erased_record(
    run: Any, world: World, signed_in: Any, client: FlaskClient
) -> None:
    case = world.first_read(world.alice, world.bob)
    readers = {name: signed_in(name) for name in ("alice", "bob", "carol", "frank")}
    run("erase", world.alice.patient_id, "--yes")

    answer = readers["bob"].get(f"/review/{case}")
    assert answer.status_code == 410
    assert "This record was erased" in answer.text
    assert readers["frank"].get(f"/review/{case}").status_code == 404  # another clinic
    assert "/sign-in" in readers["alice"].get("/cases").location
    assert readers["bob"].get("/review").status_code == 200
    form = client.get("/sign-in").text
    assert "sign-in" in form
