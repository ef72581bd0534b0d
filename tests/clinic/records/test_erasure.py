"""An erased patient is gone from every table and from the photo store, and stays gone."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.consent import ConsentDecision, Purpose
from clinic.erasure_ledger import ErasureLedger, LedgerError
from clinic.keeper_protocol import KeyPurpose
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.records import (
    accounts,
    audit_log,
    consents,
    erasure,
    key_requests,
    keys,
    known_devices,
    notices,
    one_time_links,
    passkeys,
    recovery_codes,
)
from clinic.records import submissions as cases
from clinic.records.blobs import MissingBlobError
from clinic.records.db import Base, database_now, new_id
from clinic.records.erasure import OF_A_CASE, OF_A_PATIENT, OF_AN_ACCOUNT, Erased
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import (
    Account,
    AuditEntry,
    Consent,
    KeyRequest,
    LoginSession,
    Patient,
    PatientKey,
    SealedObject,
    Submission,
)
from clinic.records.passkeys import NewPasskey
from tests.fakes import FakeAnalyst
from tests.world import Person, World, jpeg
from worker.screen_submission import screen


@pytest.fixture
def ledger(tmp_path: Path) -> ErasureLedger:
    return ErasureLedger(tmp_path / "erasures.jsonl", b"a" * 32)


def erase(world: World, ledger: ErasureLedger, person: Person) -> Erased | None:
    eraser = replace(world.eraser, ledger=ledger)
    return eraser.erase(person.patient_id or "", actor="command line")


def busy_life(world: World, person: Person) -> None:
    """A patient with a signed case, one in review, one queued, sessions, links and key requests."""
    world.signed(person, world.bob)
    world.first_read(person, world.dan)
    world.submit(person)
    world.keeper.settle(person.patient_id or "")
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, person.account_id)
        token = accounts.start_login(session, account, second_factor=False)
        accounts.make_sign_in_link(session, account)
        login = accounts.live_login(session, token)
        assert login is not None
        _second_factors_and_mail(world, session, account)
        key_requests.ask(
            session, NewKeyRequest(KeyPurpose.VIEW, (), b"k" * 32, login_session_id=login.id)
        )


def _second_factors_and_mail(world: World, session: Session, account: Account) -> None:
    name = world.secrets.seal("my phone", account_id=account.id, column="passkey name")
    new = NewPasskey(f"credential of {account.id}".encode(), b"a public key", 0, name)
    passkeys.add(session, account, new)
    passkeys.new_challenge(session, account.id)
    recovery_codes.renew(session, account.id)
    known_devices.remember(session, account, None)
    notices.tell(session, account, NoticeKind.FACTOR_ADDED)
    reset = LinkPurpose.PASSWORD_RESET
    one_time_links.make(session, world.secrets, reset, account_id=account.id, email=None)


def mentions(world: World, *ids: str) -> set[str]:
    """The tables of which any value holds one of these ids."""
    with world.sessions() as session:
        return {
            table.name
            for table in Base.metadata.sorted_tables
            for row in session.execute(select(table))
            if any(one in str(value) for one in ids for value in row)
        }


def bodies(world: World) -> set[str]:
    return set(world.blobs.ids(older_than=time.time() + 60))


def test_nothing_of_the_patient_is_left_but_opaque_ids_for_the_proof(
    world: World, ledger: ErasureLedger
) -> None:
    busy_life(world, world.alice)
    with world.sessions() as session:
        mine = [row.id for row in cases.of_patient(session, world.alice.patient_id)]

    erase(world, ledger, world.alice)

    left = mentions(world, world.alice.patient_id, world.alice.account_id, *mine)
    assert left == {"audit_entry", "patient_key", "erasure_request", "report_withdrawal"}
    with world.sessions() as session:
        found = session.scalars(select(PatientKey)).all()
        assert [(key.wrapped, key.destroyed_at is not None) for key in found] == [(None, True)]
        assert audit_log.verify(session, world.auditor.key) is None
    assert bodies(world) == set()


def test_other_patients_keep_everything(world: World, ledger: ErasureLedger) -> None:
    busy_life(world, world.carol)
    busy_life(world, world.alice)
    before = everything_of(world, world.carol)

    erase(world, ledger, world.alice)

    assert everything_of(world, world.carol) == before
    assert {one for one in before if isinstance(one, str)} == bodies(world)


def everything_of(world: World, person: Person) -> set[Any]:
    """This patient's rows as bytes, and the ids of their bodies."""
    tables = {*OF_A_CASE, *OF_A_PATIENT, *OF_AN_ACCOUNT, Patient, PatientKey}
    with world.sessions() as session:
        rows = {str(row) for one in tables for row in session.execute(select(one.__table__))}
        mine = SealedObject.patient_id == person.patient_id
        stored = session.scalars(select(SealedObject.id).where(mine, SealedObject.body.is_(None)))
        sent = cases.of_patient(session, person.patient_id or "")
        ids = {person.patient_id, person.account_id, *(row.id for row in sent)}
        return {row.encode() for row in rows if any(one in row for one in ids)} | set(stored)


def counts(world: World) -> dict[str, int]:
    with world.sessions() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }


def test_the_erasure_is_one_audit_entry_with_counts_alone(
    world: World, ledger: ErasureLedger
) -> None:
    world.signed(world.alice, world.bob)
    world.keeper.settle(world.alice.patient_id)

    erased = erase(world, ledger, world.alice)

    with world.sessions() as session:
        query = select(AuditEntry).where(AuditEntry.action == AuditAction.PATIENT_ERASED)
        entry = session.scalars(query).one()
    assert (erased.cases, erased.keys, len(erased.body_ids)) == (1, 1, 4)
    assert entry.detail == "1 cases, 4 bodies, 1 keys"
    assert (entry.patient_id, entry.clinic_id) == (world.alice.patient_id, world.clinic_id)


def test_a_table_that_refers_to_a_patient_is_known_to_the_erasure() -> None:
    """Whoever adds one must say here that it is erased too."""
    known = {one.__tablename__ for one in (*OF_A_CASE, *OF_A_PATIENT, *OF_AN_ACCOUNT)}
    known |= {"key_request", "patient", "account", "patient_key"}
    refers = {
        table.name
        for table in Base.metadata.sorted_tables
        for one in table.foreign_keys
        if one.column.table.name in {"patient", "submission", "sealed_object", "login_session"}
    }
    refers |= {
        table.name
        for table in Base.metadata.sorted_tables
        if {"patient_id", "submission_id"} & set(table.columns.keys())
    }
    outlive_the_patient = {"audit_entry", "erasure_request", "report_withdrawal"}
    assert refers - outlive_the_patient <= known


def test_a_worker_that_screens_the_case_meanwhile_stores_nothing(
    world: World, ledger: ErasureLedger
) -> None:
    submission_id = world.submit(world.alice)

    class ErasingAnalyst(FakeAnalyst):
        def analyse_one(self, pixels: Any) -> Any:
            erase(world, ledger, world.alice)
            return super().analyse_one(pixels)

    analyst = ErasingAnalyst()
    screen(world.screening(analyst=analyst), submission_id)

    assert analyst.seen
    assert mentions(world, submission_id) == {"audit_entry"}
    assert bodies(world) == set()


def test_a_queued_case_is_not_screened_any_more(world: World, ledger: ErasureLedger) -> None:
    submission_id = world.submit(world.alice)
    erase(world, ledger, world.alice)
    assert screen(world.screening(), submission_id) == 0


def test_the_database_refuses_what_arrives_late_for_an_erased_patient(
    world: World, ledger: ErasureLedger
) -> None:
    with world.sessions() as session:
        patient = session.get_one(Patient, world.alice.patient_id)
    erase(world, ledger, world.alice)

    with pytest.raises(IntegrityError):
        world.submit(world.alice)
    with pytest.raises(IntegrityError), world.sessions() as session, session.begin():
        consents.record(session, patient.id, [ConsentDecision(Purpose.RESEARCH, permitted=True)])


def test_the_keeper_refuses_a_request_that_names_an_erased_object(
    world: World, ledger: ErasureLedger
) -> None:
    submission_id = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        wanted = session.scalars(
            select(SealedObject.id).where(SealedObject.submission_id == submission_id)
        ).all()
        account = session.get_one(Account, world.bob.account_id)
        token = accounts.start_login(session, account, second_factor=True)
        login = accounts.live_login(session, token)
        assert login is not None
        login_id = login.id
    erase(world, ledger, world.alice)
    with world.sessions() as session, session.begin():
        asked = key_requests.ask(
            session,
            NewKeyRequest(KeyPurpose.VIEW, tuple(wanted), b"k" * 32, login_session_id=login_id),
        )

    world.keeper.answer(asked.id)

    with world.sessions() as session:
        assert session.get_one(KeyRequest, asked.id).refusal == "no object was named"


def test_a_destroyed_key_opens_nothing(world: World, ledger: ErasureLedger) -> None:
    world.signed(world.alice, world.bob)
    world.keeper.settle(world.alice.patient_id)
    with world.sessions() as session:
        kid = session.scalars(select(PatientKey.kid)).one()

    erase(world, ledger, world.alice)

    with world.sessions() as session, pytest.raises(keys.KeyDestroyedError):
        keys.patient_key_by_kid(session, world.master, kid)


def test_the_ledger_comes_first_so_that_without_it_nothing_is_erased(
    world: World, tmp_path: Path
) -> None:
    world.signed(world.alice, world.bob)
    before = counts(world)
    ledger = ErasureLedger(tmp_path / "no such folder" / "ledger", b"a" * 32)

    with pytest.raises(LedgerError):
        erase(world, ledger, world.alice)

    assert counts(world) == before


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("place", ["before the rows", "before the bodies"])
def test_an_erasure_that_was_cut_off_is_finished_by_running_it_again(
    world: World, ledger: ErasureLedger, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    world.signed(world.alice, world.bob)

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        if place == "before the rows":
            patched.setattr(erasure, "_delete_rows", crash)
        else:
            patched.setattr(type(world.blobs), "delete", crash)
        with pytest.raises(Crash):
            erase(world, ledger, world.alice)
    erase(world, ledger, world.alice)

    assert [one.patient_id for one in ledger.read()] == [world.alice.patient_id]
    kept = {"audit_entry", "patient_key", "erasure_request", "report_withdrawal"}
    assert mentions(world, world.alice.patient_id) <= kept
    with world.sessions() as session:
        named = set(session.scalars(select(SealedObject.id)))
    assert named.isdisjoint(bodies(world))  # what is left has no row: the orphans' sweep takes it


def test_a_patient_is_found_by_number_or_id_with_what_must_be_known(world: World) -> None:
    world.signed(world.alice, world.bob)
    world.submit(world.alice)
    with world.sessions() as session:
        number = session.get_one(Patient, world.alice.patient_id).record_number
        by_number = erasure.find_patient(session, number.lower())
        by_id = erasure.find_patient(session, world.alice.patient_id)
        nobody = erasure.find_patient(session, "DQ-NOBODY")
    assert by_number == by_id
    assert by_number is not None
    assert (by_number.cases, by_number.signed) == (2, 1)
    assert nobody is None


def test_only_patients_without_any_later_contact_are_due(world: World) -> None:
    world.signed(world.alice, world.bob)
    with world.sessions() as session:
        since = database_now(session)
    assert due(world, since) == {world.alice.patient_id, world.carol.patient_id}
    world.submit(world.alice)
    assert due(world, since) == {world.carol.patient_id}


def due(world: World, since: Any) -> set[str]:
    with world.sessions() as session:
        found = erasure.patients_without_contact(session, since=since)
    return {one.patient_id for one in found}


def test_the_audit_chain_remembers_when_somebody_was_erased(
    world: World, ledger: ErasureLedger
) -> None:
    erase(world, ledger, world.alice)
    with world.sessions() as session:
        assert erasure.was_erased(session, world.alice.patient_id) is not None
        assert erasure.was_erased(session, world.carol.patient_id) is None
        assert erasure.was_erased(session, new_id()) is None
        assert session.scalar(select(func.count()).select_from(Consent)) == 3
        assert session.scalar(select(func.count()).select_from(Submission)) == 0
        assert session.get(LoginSession, new_id()) is None


def test_bodies_are_really_deleted(world: World, ledger: ErasureLedger) -> None:
    world.submit(world.alice, photos={"close_up": jpeg(1), "overview": jpeg(2)})
    (one, two) = bodies(world)
    erase(world, ledger, world.alice)
    for object_id in (one, two):
        with pytest.raises(MissingBlobError):
            world.blobs.get(object_id)
