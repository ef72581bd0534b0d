"""A patient asks to be erased: the policy, the desk of the administrator, the certificate."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from clinic.audit_event import AuditAction
from clinic.erasure_certificate import CertificateError, read
from clinic.installation_key import InstallationKey, InstallationPublicKey
from clinic.records import ehr_clients, erasure_requests
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    Clinic,
    ErasureRequest,
    LoginSession,
    Patient,
    ReportWithdrawal,
)
from clinic.retention import ErasureRefusal, ErasureState
from tests.browser_session import BrowserSession
from tests.portal_tools import another_app, both_databases, count, entries, send
from tests.world import Person, World
from web.database import db

SignedIn = Callable[[str], BrowserSession]
ANSWER = re.compile(r'href="(/erasure/[\w-]+)"')
SURE = {"sure": "y"}


@pytest.fixture
def alice(signed_in: SignedIn) -> BrowserSession:
    return signed_in("alice")


@pytest.fixture
def at_once(world: World, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """A portal of an installation in which no law keeps records."""
    app = another_app(world, database_url, tmp_path, erasure="at_once")
    yield app
    with app.app_context():
        db.engine.dispose()


def ask(browser: BrowserSession) -> str:
    """Ask to be erased; the address of the answer."""
    page = browser.post("/my-record/erasure", SURE)
    assert page.status_code == 200, page.text
    found = ANSWER.search(page.text)
    assert found is not None
    return found.group(1)


def wish_of(world: World, person: Person) -> ErasureRequest:
    with world.sessions() as session:
        found = erasure_requests.newest_of(session, person.patient_id or "")
        assert found is not None
        return found


def is_there(world: World, person: Person) -> bool:
    with world.sessions() as session:
        return session.get(Patient, person.patient_id) is not None


def certificate(browser: FlaskClient, address: str) -> Any:
    return send(browser, address, {}, page="/register")


@both_databases
def test_where_no_law_keeps_records_the_patient_is_erased_at_once(
    world: World, at_once: Flask
) -> None:
    world.signed(world.alice, world.bob)
    alice = BrowserSession.of(at_once, world, world.alice)

    address = ask(alice)

    assert not is_there(world, world.alice)
    with world.sessions() as session:
        assert session.get(Account, world.alice.account_id) is None
        assert not session.query(LoginSession).filter_by(account_id=world.alice.account_id).count()
    assert alice.get("/cases").location.startswith("/sign-in")
    assert "Certificate of erasure" in at_once.test_client().get(address).text


def test_the_certificate_is_signed_counts_what_went_and_is_given_once(
    world: World, at_once: Flask
) -> None:
    world.signed(world.alice, world.bob)
    world.keeper.settle(world.alice.patient_id or "")
    address = ask(BrowserSession.of(at_once, world, world.alice))
    stranger = at_once.test_client()

    given = certificate(stranger, address)

    said = read(given.text, InstallationPublicKey.of(world.eraser.signer.public))
    assert (said.cases, said.reports, said.keys, said.pictures) == (1, 1, 1, 4)
    assert said.patient_id == world.alice.patient_id
    assert timedelta(days=29) < said.backups_until - said.erased_at <= timedelta(days=30)
    assert certificate(stranger, address).status_code == 404
    assert stranger.get(address).status_code == 404
    for name in ("Alice", "alice@example.org"):
        assert name not in given.text


def test_a_changed_or_foreign_certificate_is_told(world: World, at_once: Flask) -> None:
    address = ask(BrowserSession.of(at_once, world, world.alice))
    text = certificate(at_once.test_client(), address).text
    key = InstallationPublicKey.of(world.eraser.signer.public)

    with pytest.raises(CertificateError, match="changed"):
        read(text.replace('"cases": 0', '"cases": 9'), key)
    with pytest.raises(CertificateError, match="another installation"):
        read(text, InstallationPublicKey.of(InstallationKey(b"x" * 32).public))
    with pytest.raises(CertificateError, match="no certificate"):
        read("a letter", key)


def test_who_never_sent_anything_is_erased_at_once_everywhere(
    world: World, alice: BrowserSession
) -> None:
    assert "Erase my record now" in alice.get("/my-record/erasure").text
    ask(alice)
    assert not is_there(world, world.alice)


def test_where_the_law_keeps_records_a_person_decides(world: World, alice: BrowserSession) -> None:
    world.signed(world.alice, world.bob)

    page = alice.get("/my-record/erasure").text
    address = ask(alice)

    assert "The law may say that we must keep" in page
    assert is_there(world, world.alice)
    wish = wish_of(world, world.alice)
    assert (wish.state, wish.due_at - wish.requested_at) == ("open", timedelta(days=28))
    assert "We are looking at your wish" in alice.get(address).text
    assert "Keep my record" in alice.get("/my-record/erasure").text


def test_without_the_tick_nothing_is_asked(world: World, alice: BrowserSession) -> None:
    answer = alice.post("/my-record/erasure", {})
    assert answer.status_code == 422
    assert "Tick the box" in answer.text
    assert count(world, ErasureRequest) == 0


def test_a_second_wish_waits_for_the_first(world: World, alice: BrowserSession) -> None:
    world.submit(world.alice)
    ask(alice)
    assert alice.post("/my-record/erasure", SURE).status_code == 409
    assert count(world, ErasureRequest) == 1


def test_the_patient_thinks_better_of_it(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    world.submit(world.alice)
    address = ask(alice)
    alice.post("/my-record/erasure/withdraw")

    wish = wish_of(world, world.alice)
    late = signed_in("erin").post(f"/erasure-requests/{wish.id}/grant")

    assert (wish.state, late.status_code) == (ErasureState.WITHDRAWN, 409)
    assert is_there(world, world.alice)
    assert "You took your wish back" in alice.get(address).text
    assert alice.post("/my-record/erasure/withdraw").status_code == 409


@both_databases
def test_an_administrator_grants_it(
    world: World, alice: BrowserSession, signed_in: SignedIn, app: Flask
) -> None:
    world.signed(world.alice, world.bob)
    address = ask(alice)
    erin = signed_in("erin")
    wish = wish_of(world, world.alice)
    assert "1, 1 signed" in erin.get("/erasure-requests").text

    erin.post(f"/erasure-requests/{wish.id}/grant")

    assert not is_there(world, world.alice)
    assert wish_of(world, world.alice).decided_by == world.erin.account_id
    assert "Certificate of erasure" in app.test_client().get(address).text
    assert "No request waits" in erin.get("/erasure-requests").text
    (granted,) = entries(world, AuditAction.ERASURE_GRANTED)
    assert granted.patient_id == world.alice.patient_id


def test_a_refusal_needs_a_reason_and_the_patient_reads_it(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    world.submit(world.alice)
    address = ask(alice)
    path = f"/erasure-requests/{wish_of(world, world.alice).id}/refuse"
    erin = signed_in("erin")

    assert erin.post(path, {}).status_code == 422
    assert erin.post(path, {"reason": "made up"}).status_code == 422
    assert erin.post(path, {"reason": "medical_records_law"}).status_code == 302

    sentence = ErasureRefusal.MEDICAL_RECORDS_LAW.sentence
    assert sentence in alice.get("/my-record/erasure").text
    assert sentence in alice.get(address).text
    assert is_there(world, world.alice)
    assert erin.post(path, {"reason": "legal_claim"}).status_code == 409
    assert wish_of(world, world.alice).refusal == "medical_records_law"


def test_an_administrator_of_another_clinic_sees_and_decides_nothing(
    world: World, alice: BrowserSession, app: Flask
) -> None:
    world.submit(world.alice)
    ask(alice)
    with world.sessions() as session:
        assert session.get(Clinic, world.other_clinic_id) is not None
    judy = world.add_person("judy", world.erin.role, clinic_id=world.other_clinic_id)
    browser = BrowserSession.of(app, world, judy)

    assert "No request waits" in browser.get("/erasure-requests").text
    for way in ("grant", "refuse"):
        path = f"/erasure-requests/{wish_of(world, world.alice).id}/{way}"
        assert browser.post(path, {"reason": "legal_claim"}).status_code == 404
    assert is_there(world, world.alice)


def test_an_erasure_that_was_cut_off_is_finished_at_the_desk(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    world.submit(world.alice)
    ask(alice)
    wish = wish_of(world, world.alice)
    ledger = world.eraser.ledger.path
    ledger.mkdir()
    erin = signed_in("erin")

    assert erin.post(f"/erasure-requests/{wish.id}/grant").status_code == 503
    assert is_there(world, world.alice)
    assert "Granted, not finished" in erin.get("/erasure-requests").text
    assert alice.post("/my-record/erasure/withdraw").status_code == 409

    ledger.rmdir()
    erin.post(f"/erasure-requests/{wish.id}/grant")
    assert not is_there(world, world.alice)


def test_record_systems_are_told_that_the_report_is_gone(world: World, at_once: Flask) -> None:
    case, kept = world.signed(world.alice, world.bob), world.signed(world.carol, world.bob)
    with world.sessions() as session, session.begin():
        own, other = (
            ehr_clients.register(session, clinic_id=one, name="EHR").token
            for one in (world.clinic_id, world.other_clinic_id)
        )
    ask(BrowserSession.of(at_once, world, world.alice))

    def read(token: str, path: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return at_once.test_client().get(f"/fhir/R4/{path}", headers=headers)

    def status(token: str, path: str) -> tuple[int, str]:
        answer = read(token, path)
        return answer.status_code, answer.json["issue"][0]["code"]

    def history(token: str) -> list[tuple[str, str]]:
        entries = read(token, "DiagnosticReport/_history?_since=2020").json.get("entry", [])
        return [(one["request"]["method"], one["fullUrl"].rpartition("/")[2]) for one in entries]

    gone = (410, "deleted")
    assert status(own, f"DiagnosticReport/{case}") == gone
    assert status(own, f"Observation/{case}-finding") == gone
    assert status(own, f"Patient/{world.alice.patient_id}") == gone
    assert status(other, f"DiagnosticReport/{case}") == (404, "not-found")
    assert history(own) == [("DELETE", case), ("POST", kept)]
    assert history(other) == []
    with world.sessions() as session:
        notice = session.get_one(ReportWithdrawal, case)
        assert notice.delivered_at is None
        assert notice.withdrawn_at <= database_now(session)


def test_an_unknown_address_tells_nothing(client: FlaskClient) -> None:
    assert client.get("/erasure/guessed").status_code == 404
    assert certificate(client, "/erasure/guessed").status_code == 404
