"""`flask backup` and `flask restore`: done with a sentence, or refused with one and status 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine

from clinic.audit_event import AuditAction
from clinic.key_files import create_key_files
from clinic.master_key import read_master_key
from clinic.records.audit_log import Auditor
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.db import make_engine
from clinic.records.restore import Restore
from tests.backup_tools import IDENTITY, RECIPIENT, Vault, mark_as_newest
from tests.portal_tools import entries
from tests.world import World
from web.backup_commands import backup_commands, restore_keys, restore_records
from web.schema import SCHEMA
from web.services import EXTENSION, BackupServices

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


@pytest.fixture
def run(
    engine: Engine, world: World, vault: Vault, database_url: str, tmp_path: Path
) -> Iterator[Any]:
    """`flask backup ...`; `restore` goes into an empty installation in the folder "elsewhere"."""
    mark_as_newest(engine)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    new_engine = make_engine(f"sqlite:///{elsewhere / 'records.db'}")
    restore = Restore(
        engine=new_engine,
        blobs=FolderBlobStore(elsewhere / "blobs"),
        ledger=vault.ledger,
        auditor=Auditor(b"a" * 32),
        source=vault.backups,
        schema=SCHEMA,
    )
    app = Flask(__name__)
    app.extensions[EXTENSION] = BackupServices(vault.backup(world, database_url), restore)
    for one in (backup_commands, restore_records, restore_keys):
        app.cli.add_command(one)
    yield lambda *args: app.test_cli_runner().invoke(args=[str(one) for one in args])
    new_engine.dispose()


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """As `age-keygen` writes it."""
    path = tmp_path / "database.identity"
    path.write_text(f"# created: 2026\n# public key: {RECIPIENT}\n{IDENTITY}\n")
    return path


def refused(result: Any, sentence: str) -> bool:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code != 0
    return sentence in result.output


def test_a_backup_is_made_listed_verified_and_restored(
    run: Any, world: World, identity: Path
) -> None:
    world.signed(world.alice, world.bob)
    made = run("backup")
    name = run("backup", "list").output.strip()
    verified = run("backup", "verify")
    restored = run("restore", "--identity", identity, "--let-erased-patients-return")

    assert made.output == (
        f"Backup {name}: 4 bodies, 4 of them new; "
        "0 bodies without a row and 0 old backups deleted.\n"
    )
    assert f"Backup {name} of 20" in verified.output
    (master,) = world.master.ids()
    assert verified.output.endswith(f"is whole.\nIt needs the master keys {master}.\n")
    assert restored.exit_code == 0, restored.output
    assert f"Restored {name}: " in restored.output
    assert "4 bodies; 0 patients were erased again." in restored.output
    assert f"The keeper's file must hold the master keys {master}." in restored.output


def test_a_restore_needs_the_ledger_or_the_words_that_do_without(
    run: Any, vault: Vault, world: World, identity: Path
) -> None:
    run("backup")
    vault.erase(world, world.alice)

    without = run("restore", "--identity", identity)
    assert refused(without, "Without one, patients who were erased after this backup would come")
    assert str(vault.ledger.path) in without.output
    both = ("--ledger", vault.ledger.path, "--let-erased-patients-return")
    assert refused(run("restore", "--identity", identity, *both), "Give --ledger")
    done = run("restore", "--identity", identity, "--ledger", vault.ledger.path)
    assert "1 patients were erased again." in done.output


def test_a_damaged_body_is_named_and_the_status_says_so(run: Any, world: World) -> None:
    world.submit(world.alice)
    object_id = next(world.blobs.ids(older_than=float("inf")))
    world.blobs.delete(object_id)

    made = run("backup")

    assert refused(made, "The backup is whole but for 1 bodies.")
    assert f"Not in the photo store, or changed there: object {object_id}" in made.output
    assert "1 bodies were damaged already" in run("backup", "verify").output


def test_each_expected_fault_is_one_sentence(
    run: Any, vault: Vault, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(run("backup", "verify"), "There is no backup in")
    assert refused(run("restore", "--identity", identity, "--let-erased-patients-return"), "no bac")
    run("backup")
    (vault.backups.place(None) / "database.age").unlink()
    assert refused(run("backup", "verify"), "database.age is missing")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clinic.sealed_part.os.fsync", full)
    assert refused(run("backup"), "No space left on device")


def test_the_keys_travel_apart_and_come_back(run: Any, world: World, tmp_path: Path) -> None:
    create_key_files(tmp_path / "keys")
    pairs = run("backup", "new-keys", tmp_path / "identities").output
    recipient = pairs.split("Public key of the keys: ")[1].split()[0]
    out, source = tmp_path / "keys.age", ("--from", tmp_path / "keys")

    done = run("backup", "keys", out, *source, "--recipient", recipient)
    back = run(
        *("restore-keys", out, "--identity", tmp_path / "identities" / "keys.identity"),
        *("--to", tmp_path / "new keys"),
    )

    assert done.exit_code == 0, done.output
    assert "Root public key: " in back.output, back.output
    (master,) = read_master_key(tmp_path / "keys" / "master.key").ids()
    assert f"Master keys in it: {master}." in done.output
    assert f"Master keys: {master}." in back.output
    for path in (tmp_path / "new keys").iterdir():
        assert path.read_bytes() == (tmp_path / "keys" / path.name).read_bytes()
    (entry,) = entries(world, AuditAction.BACKUP_MADE)
    assert entry.detail == "the key files"


def test_one_identity_never_opens_two_parts(run: Any, tmp_path: Path) -> None:
    create_key_files(tmp_path / "keys")
    made = run(
        *("backup", "keys", tmp_path / "keys.age", "--from", tmp_path / "keys"),
        *("--recipient", RECIPIENT),
    )
    assert refused(made, "could open both")
    assert not (tmp_path / "keys.age").exists()


def test_key_pairs_are_never_written_over(run: Any, tmp_path: Path) -> None:
    assert run("backup", "new-keys", tmp_path / "identities").exit_code == 0
    assert refused(run("backup", "new-keys", tmp_path / "identities"), "File exists")
    for path in (tmp_path / "identities").iterdir():
        assert path.stat().st_mode & 0o077 == 0
