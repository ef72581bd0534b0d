"""Wipe and restore: everything comes back, goes on and opens; the erased stay erased."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, inspect, select

from clinic.audit_event import AuditAction
from clinic.erasure_ledger import ErasureLedger
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.master_key import PREFIX_BYTES, LocalMasterKey, MasterKeyError
from clinic.records import (
    accounts,
    audit_log,
    key_rotation,
    keys,
    screening_queue,
    sealed_objects,
    submissions,
)
from clinic.records.backup import (
    BODIES_FILE,
    DATABASE_FILE,
    LEDGER_FILE,
    Backup,
    BackupDamagedError,
    BackupRefusedError,
)
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.db import make_engine
from clinic.records.keeper_client import KeeperClient
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import (
    Account,
    AuditEntry,
    KeyRequest,
    LoginSession,
    Patient,
    ProcessKey,
    ScreeningResult,
    SealedObject,
    SignInLink,
    Submission,
)
from clinic.records.table_dump import dump
from clinic.sealed_part import new_identity
from clinic.submission import CaseState, ScreeningState
from tests.backup_tools import AUDIT_KEY, Vault, mark_as_newest, over
from tests.world import Person, World
from tools.postgres import PostgresServer
from web.schema import SCHEMA, newest_revision
from worker.screen_submission import screen

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


@pytest.fixture
def backup(engine: Engine, world: World, vault: Vault, database_url: str) -> Backup:
    mark_as_newest(engine)
    return vault.backup(world, database_url)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The folder of the new installation."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def new_url(request: pytest.FixtureRequest, database_url: str, elsewhere: Path) -> str:
    """An empty database of the same kind."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{elsewhere / 'records.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh_database()


@pytest.fixture
def again(world: World, new_url: str, elsewhere: Path) -> Iterator[World]:
    """The same cast over the new installation."""
    found = over(world, new_url, elsewhere)
    yield found
    found.sessions.kw["bind"].dispose()  # type: ignore[attr-defined]


Cases = dict[str, str]


@pytest.fixture
def cases(world: World) -> Cases:
    """One case in each state, the running one held by a worker that will be gone."""
    found = {"signed": world.signed(world.alice, world.bob)}
    world.keeper.settle(world.alice.patient_id)
    found |= {"done": world.screened(world.carol)}
    found |= {"running": world.submit(world.carol)}
    services = world.screening()
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(
            session, hint=found["running"], lease=services.lease, limit=1
        )
        assert held.submission_id == found["running"]
        account = session.get_one(Account, world.alice.account_id)
        accounts.start_login(session, account, second_factor=False)
        accounts.make_sign_in_link(session, account)
    found |= {"queued": world.submit(world.alice)}
    with world.sessions() as session, session.begin():
        screening_queue.stamp_hints(session, [found["queued"]])
    return found


def state(world: World, submission_id: str) -> tuple[str, str]:
    with world.sessions() as session:
        row = submissions.find(session, submission_id)
        assert row is not None
        return row.screening_state, row.case_state


def photo_of(world: World, submission_id: str, reader: Person) -> bytes:
    """The case's clean picture as its reader's page gets it: the keeper decides and re-wraps."""
    with world.sessions() as session, session.begin():
        identity = keys.enrol_process(session, world.enrolment_key, program="web")
        account = session.get_one(Account, reader.account_id)
        token = accounts.start_login(session, account, second_factor=True)
        login = accounts.live_login(session, token)
        rows = sealed_objects.of_submission(session, submission_id, [ObjectKind.RENDITION])
        assert login is not None
    wanted = NewKeyRequest(
        KeyPurpose.VIEW,
        tuple(row.id for row in rows),
        b"",
        login_session_id=login.id,
        submission_id=submission_id,
    )
    file_keys = KeeperClient(world.sessions, world.hints, identity).file_keys(wanted)
    return sealed_objects.open_object(rows[0], world.blobs, file_key=file_keys[rows[0].id])


def count(world: World, *tables: type) -> list[int]:
    with world.sessions() as session:
        return [session.scalar(select(func.count()).select_from(one)) or 0 for one in tables]


def test_after_a_wipe_every_case_goes_on_where_it_was(
    world: World, backup: Backup, vault: Vault, cases: Cases, again: World, new_url: str
) -> None:
    before = photo_of(world, cases["signed"], world.bob)
    backup.make()
    world.sessions.kw["bind"].dispose()  # type: ignore[attr-defined]

    restored = vault.restore(new_url, again.blobs.folder.parent, newest=vault.ledger)

    assert (restored.erased, restored.damaged) == (0, ())
    assert state(again, cases["signed"]) == (ScreeningState.DONE, CaseState.SIGNED)
    assert state(again, cases["done"]) == (ScreeningState.DONE, CaseState.AWAITING_REVIEW)
    for waiting in ("running", "queued"):
        assert state(again, cases[waiting]) == (ScreeningState.QUEUED, CaseState.RECEIVED)
    assert photo_of(again, cases["signed"], again.bob) == before
    assert screen(again.screening(), cases["running"]) == 2
    for waiting in ("running", "queued"):
        assert state(again, cases[waiting]) == (ScreeningState.DONE, CaseState.AWAITING_REVIEW)
    again.add_person("gina", again.alice.role)
    again.signed(again.gina, again.dan)


@on_sqlite
def test_the_wait_of_a_case_starts_anew_and_no_attempt_is_lost(
    backup: Backup, vault: Vault, cases: Cases, again: World, new_url: str
) -> None:
    backup.make()
    vault.restore(new_url, again.blobs.folder.parent, newest=vault.ledger)

    with again.sessions() as session:
        rows = {one: submissions.find(session, cases[one]) for one in ("running", "queued")}
        assert screening_queue.waiting_for_hint(session, limit=9) == [
            cases["running"],
            cases["queued"],
        ]
    for row in rows.values():
        assert row is not None
        assert (row.attempt, row.token, row.lease_until, row.hinted_at) == (0, None, None, None)
        assert row.queued_at > row.received_at


@on_sqlite
def test_nobody_is_signed_in_and_nothing_runs_after_a_restore(
    world: World, backup: Backup, vault: Vault, cases: Cases, again: World, new_url: str
) -> None:
    ended = (LoginSession, SignInLink, KeyRequest, ProcessKey)
    assert cases
    assert all(count(world, *ended))
    backup.make()
    vault.restore(new_url, again.blobs.folder.parent, newest=vault.ledger)
    assert count(again, *ended) == [0, 0, 0, 0]


@on_sqlite
def test_the_audit_chain_holds_and_ends_with_the_restore(
    backup: Backup, vault: Vault, cases: Cases, again: World, new_url: str
) -> None:
    assert cases
    made = backup.make()
    restored = vault.restore(new_url, again.blobs.folder.parent, newest=vault.ledger)

    with again.sessions() as session:
        assert audit_log.verify(session, again.auditor.key) is None
        last = session.scalars(select(AuditEntry).order_by(AuditEntry.sequence.desc())).first()
    assert last is not None
    assert last.action == AuditAction.BACKUP_RESTORED
    assert last.detail == (
        f"{made.name}: {restored.rows} rows, {restored.bodies} bodies, 0 patients erased again"
    )


def test_who_was_erased_after_the_backup_is_gone_after_its_restore(
    world: World, backup: Backup, vault: Vault, cases: Cases, again: World, new_url: str
) -> None:
    older = backup.make().name
    vault.erase(world, world.alice)
    backup.make()

    restored = vault.restore(new_url, again.blobs.folder.parent, name=older, newest=vault.ledger)

    assert restored.erased == 1
    with again.sessions() as session:
        assert session.get(Patient, world.alice.patient_id) is None
        assert session.get(Account, world.alice.account_id) is None
        assert submissions.find(session, cases["signed"]) is None
        assert audit_log.verify(session, again.auditor.key) is None
        named = set(session.scalars(select(SealedObject.id)))
    stored = set(again.blobs.ids(older_than=float("inf")))
    assert stored <= named
    assert state(again, cases["done"]) == (ScreeningState.DONE, CaseState.AWAITING_REVIEW)


@on_sqlite
def test_the_new_installation_keeps_the_ledger_and_can_be_backed_up(
    world: World, backup: Backup, vault: Vault, again: World, new_url: str, elsewhere: Path
) -> None:
    backup.make()
    vault.erase(world, world.alice)
    vault.restore(new_url, elsewhere, newest=vault.ledger)

    kept = ErasureLedger(elsewhere / "erasures.jsonl", AUDIT_KEY).read()
    assert kept == vault.ledger.read()
    on = Vault(elsewhere)
    assert on.backup(again, new_url).make().damaged == ()
    assert vault.backup(again, new_url).make().damaged == ()  # the same chain goes on


@on_sqlite
class TestRefusals:
    """One database is enough: nothing here depends on its kind."""

    @pytest.fixture
    def restore(
        self, backup: Backup, world: World, vault: Vault, new_url: str, elsewhere: Path
    ) -> Callable[..., object]:
        """A backup with one case of Alice; the function restores it."""
        world.signed(world.alice, world.bob)
        backup.make()

        def run(**changed: object) -> object:
            options = {"newest": vault.ledger, **changed}
            return vault.restore(new_url, elsewhere, **options)  # type: ignore[arg-type]

        return run

    @pytest.fixture
    def untouched(self, new_url: str, elsewhere: Path) -> Callable[[], bool]:
        """Whether the new installation is as empty as it was."""

        def look() -> bool:
            engine = make_engine(new_url)
            tables = inspect(engine).get_table_names()
            engine.dispose()
            return tables == [] and not (elsewhere / "erasures.jsonl").exists()

        return look

    def test_an_installation_that_is_not_empty(
        self, restore: Callable[..., object], again: World
    ) -> None:
        restore()
        with pytest.raises(BackupRefusedError, match=r"not empty: the table \w+ has rows"):
            restore()
        assert count(again, Submission) == [1]

    def test_tables_that_migrate_has_made_already_are_no_hindrance(
        self, restore: Callable[..., object], again: World
    ) -> None:
        with again.sessions() as session, session.begin():
            SCHEMA.upgrade(session.connection(), "head")
        restore()
        assert count(again, Submission) == [1]

    def test_the_wrong_identity(
        self, restore: Callable[..., object], untouched: Callable[[], bool]
    ) -> None:
        with pytest.raises(BackupDamagedError, match="This identity does not open"):
            restore(identity=new_identity()[0])
        assert untouched()

    @pytest.mark.parametrize(
        ("file", "damage"),
        [
            (DATABASE_FILE, "cut"),
            (DATABASE_FILE, "missing"),
            (BODIES_FILE, "changed"),
            (LEDGER_FILE, "changed"),
            ("a body", "missing"),
            ("a body", "changed"),
        ],
    )
    def test_a_part_that_is_missing_cut_or_changed(
        self,
        restore: Callable[..., object],
        vault: Vault,
        untouched: Callable[[], bool],
        file: str,
        damage: str,
    ) -> None:
        bodies = (one for one in vault.backups.bodies.folder.rglob("*") if one.is_file())
        path = next(bodies) if file == "a body" else vault.backups.place(None) / file
        content = path.read_bytes()
        path.unlink()
        if damage != "missing":
            other = b"!" if content.endswith(b"?") else b"?"
            path.write_bytes(content[:-1] + (b"" if damage == "cut" else other))

        with pytest.raises(BackupDamagedError, match=r"missing|changed or cut|was changed"):
            restore()
        assert untouched()

    def test_a_ledger_that_is_older_than_the_backups_own(
        self,
        restore: Callable[..., object],
        vault: Vault,
        world: World,
        backup: Backup,
        tmp_path: Path,
    ) -> None:
        older = ErasureLedger(tmp_path / "older", AUDIT_KEY)
        vault.ledger.copy_to(older.path)
        vault.erase(world, world.carol)
        backup.make()
        with pytest.raises(BackupRefusedError, match="is older than the one in the backup"):
            restore(newest=older)

    def test_another_ledger_in_the_new_place(
        self, restore: Callable[..., object], vault: Vault, world: World, elsewhere: Path
    ) -> None:
        vault.erase(world, world.carol)
        vault.ledger.copy_to(elsewhere / "erasures.jsonl")
        with pytest.raises(BackupRefusedError, match="has another erasure ledger"):
            restore(newest=None)

    def test_a_backup_of_newer_tables(
        self, restore: Callable[..., object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.backup_tools.SCHEMA", replace(SCHEMA, knows=lambda _: False))
        with pytest.raises(BackupRefusedError, match="newer than this software"):
            restore()

    def test_a_photo_store_with_another_body_of_the_same_name(
        self,
        restore: Callable[..., object],
        world: World,
        elsewhere: Path,
        untouched: Callable[[], bool],
    ) -> None:
        object_id = next(iter(world.blobs.ids(older_than=float("inf"))))
        FolderBlobStore(elsewhere / "blobs").put(object_id, b"something else")
        with pytest.raises(BackupRefusedError, match=f"another body of object {object_id}"):
            restore()
        assert untouched()

    def test_but_a_photo_store_that_survived_is_used(
        self, restore: Callable[..., object], world: World, elsewhere: Path
    ) -> None:
        for object_id in world.blobs.ids(older_than=float("inf")):
            body = world.blobs.get(object_id)
            FolderBlobStore(elsewhere / "blobs").put(object_id, body)
        restore()

    def test_rows_of_an_erased_patient_without_the_ledger_that_names_them(
        self, restore: Callable[..., object], vault: Vault, world: World, backup: Backup
    ) -> None:
        older = vault.backups.place(None).name
        vault.erase(world, world.alice)
        backup.make()
        with pytest.raises(BackupDamagedError, match="give the newest erasure ledger"):
            restore(name=older, newest=None)


@on_sqlite
def test_a_backup_of_older_tables_is_restored_and_brought_up_to_date(
    backup: Backup,
    vault: Vault,
    cases: Cases,
    again: World,
    new_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As made by the software whose tables had revision 0001, without prediction sets."""
    monkeypatch.setattr("clinic.records.backup.dump", _as_of_revision_0001)
    replace(backup, revision_of=lambda _: "0001").make()

    vault.restore(new_url, again.blobs.folder.parent, newest=vault.ledger)

    assert state(again, cases["signed"]) == (ScreeningState.DONE, CaseState.SIGNED)
    with again.sessions() as session:
        result = session.get_one(ScreeningResult, cases["signed"])
        assert result.probabilities is not None
        assert result.prediction_sets is None
        assert newest_revision(session.connection())
    assert photo_of(again, cases["signed"], again.bob)
    assert screen(again.screening(), cases["running"]) == 2


def _as_of_revision_0001(connection: Connection) -> Iterator[bytes]:
    """The dump in the order of that time's foreign keys, less what came later."""
    newer = {"prediction_sets", "outlier_score", "engine", "device", "quality_measures"}
    newer |= {"emergency_copy", "slug", "closed_at", "screening_result.clinic_id"}
    newer |= {"valid_until", "alternatives", "first_read.urgency", "maps", "language"}
    newer |= {"told_by", "told_at", "escalate_at", "status", "gp_letter_object_id"}
    newer |= {"letter_template", "follow_up_on", "change_reason", "first_told_at"}
    tables = []
    *lines, _ = dump(connection)
    for line in lines:
        said = json.loads(line)
        if isinstance(said, dict):
            tables.append([])
            names = [(name, f"{said['table']}.{name}") for name in said["columns"]]
            old = [at for at, one in enumerate(names) if newer.isdisjoint(one)]
            columns = {names[at][0]: said["columns"][names[at][0]] for at in old}
            tables[-1].append({**said, "columns": columns})
        else:
            tables[-1].append([said[at] for at in old])
            _without_master_key_id(tables[-1])
    for one in tables:  # there were no auditors yet
        one[1:] = [row for row in one[1:] if "auditor" not in row]
    unknown = {"audit_check", "master_key_head", "reading", "double_read_rule", "second_read"}
    unknown |= {"service_limit", "escalation", "escalation_contact", "hand_over", "consensus"}
    unknown |= {"case_draft", "attachment", "pathology_result", "case_message", "case_note"}
    later = [one for one in tables if one[0]["table"] in unknown]
    tables = [one for one in tables if one not in later]
    rows = sum(len(one) - 1 for one in tables)
    tables.sort(key=lambda one: one[0]["table"] == "patient_key")
    yield from (json.dumps(one).encode() + b"\n" for table in tables for one in table)
    yield json.dumps({"rows": rows}).encode() + b"\n"


def _without_master_key_id(table: list[Any]) -> None:
    """The last row as it was wrapped when master keys had no ids."""
    names = list(table[0]["columns"])
    for name in {"private_wrapped", "wrapped"} & set(names):
        wrapped = base64.b64decode(table[-1][names.index(name)])
        table[-1][names.index(name)] = base64.b64encode(wrapped[PREFIX_BYTES:]).decode()


@on_sqlite
def test_a_backup_from_before_a_rotation_names_the_master_key_that_it_needs(
    world: World, backup: Backup, again: World, new_url: str, vault: Vault
) -> None:
    case = world.signed(world.alice, world.bob)
    backup.make()
    (old,) = world.master.ids()
    newer = LocalMasterKey(b"n" * 32, (world.master.key,))
    key_rotation.rotate_master(world.sessions, newer, world.auditor, actor="test")

    restored = vault.restore(new_url, again.blobs.folder.parent, newest=vault.ledger)

    assert restored.master_keys == (old,)
    assert vault.backups.manifest(None).master_keys == (old,)
    again.keeper = replace(again.keeper, master=LocalMasterKey(b"n" * 32))
    again.hints.keeper = again.keeper
    with pytest.raises(MasterKeyError, match=f"{old} is needed"):
        photo_of(again, case, again.bob)
