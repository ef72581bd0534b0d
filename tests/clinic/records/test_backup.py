"""A backup is whole or not there, copies only what is new, and forgets whom the clinic erased."""

from dataclasses import replace
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from clinic.audit_event import AuditAction
from clinic.records.backup import (
    BODIES_FILE,
    DATABASE_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    Backup,
    BackupDamagedError,
    BackupFolder,
    BackupRefusedError,
)
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.blobs import StorageFullError
from clinic.records.models import AuditEntry, SealedObject
from tests.backup_tools import Vault, mark_as_newest
from tests.world import PHOTO, World
from web.schema import OutdatedTablesError

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


@pytest.fixture
def backup(engine: Engine, world: World, vault: Vault, database_url: str) -> Backup:
    """Alice has a signed case, Carol one that waits."""
    mark_as_newest(engine)
    world.signed(world.alice, world.bob)
    world.submit(world.carol)
    return vault.backup(world, database_url)


def body_ids(world: World) -> set[str]:
    with world.sessions() as session:
        return set(session.scalars(select(SealedObject.id).where(SealedObject.body.is_(None))))


def body_files(vault: Vault) -> list[Path]:
    return sorted(one for one in vault.backups.bodies.folder.rglob("*") if one.is_file())


def kept(vault: Vault) -> set[str]:
    return set(vault.backups.bodies.ids(older_than=inf))


def test_a_backup_has_database_bodies_and_ledger_and_is_whole(
    backup: Backup, world: World, vault: Vault
) -> None:
    made = backup.make()

    place = vault.backups.place(made.name)
    assert {one.name for one in place.iterdir()} == {
        *(MANIFEST_FILE, DATABASE_FILE, BODIES_FILE, LEDGER_FILE)
    }
    assert (made.bodies, made.copied, made.damaged) == (5, 5, ())
    assert kept(vault) == body_ids(world)
    assert vault.backups.verify(made.name).revision
    assert vault.backups.names() == [made.name]


def test_nothing_in_a_backup_is_in_clear(backup: Backup, vault: Vault) -> None:
    backup.make()
    for path in vault.backups.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for canary in (b"Alice-Family", b"below the shoulder", b"harmless", PHOTO[1000:1040]):
                assert canary not in content, path
            assert b"awaiting_review" not in content


def test_a_second_backup_copies_only_new_bodies(backup: Backup, world: World, vault: Vault) -> None:
    first = backup.make()
    stamps = {path: path.stat().st_mtime_ns for path in body_files(vault)}
    world.submit(world.carol)

    second = backup.make()

    assert (second.bodies, second.copied) == (first.bodies + 1, 1)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert vault.backups.verify(first.name)


def test_each_backup_is_an_audit_entry(backup: Backup, world: World) -> None:
    made = backup.make()
    with world.sessions() as session:
        query = select(AuditEntry).where(AuditEntry.action == AuditAction.BACKUP_MADE)
        detail = session.scalars(query).one().detail
    assert detail.startswith(f"{made.name}: 5 bodies, 5 new, 0 pruned")


def test_bodies_of_an_erased_patient_leave_the_backups_too(
    backup: Backup, world: World, vault: Vault
) -> None:
    first = backup.make()
    vault.erase(world, world.alice)

    second = backup.make()

    assert second.pruned == 4
    assert kept(vault) == body_ids(world)
    assert vault.backups.verify(second.name)
    assert vault.backups.verify(first.name)  # what was erased since is not missed


def test_an_erasure_between_database_and_bodies_is_no_damage(
    backup: Backup, world: World, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = FolderBlobStore.ids

    def erased_meanwhile(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(FolderBlobStore, "ids", bodies)
        vault.erase(world, world.alice)
        return bodies(*args, **kwargs)

    monkeypatch.setattr(FolderBlobStore, "ids", erased_meanwhile)

    made = backup.make()

    assert (made.bodies, made.damaged) == (1, ())
    assert len(vault.ledger.read()) == 1
    assert vault.backups.verify(made.name)


def test_a_body_that_is_damaged_in_the_photo_store_is_named_and_holds_nothing_up(
    backup: Backup, world: World, vault: Vault
) -> None:
    missing, changed = sorted(body_ids(world))[:2]
    world.blobs.delete(missing)
    path = next(world.blobs.folder.rglob(changed))
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    made = backup.make()

    assert set(made.damaged) == {missing, changed}
    assert made.bodies == 3
    assert vault.backups.verify(made.name).damaged == made.damaged


def test_old_backups_go_but_the_newest_never(backup: Backup, vault: Vault) -> None:
    first, second = backup.make(), backup.make()
    assert second.expired == 0

    third = replace(backup, keep=timedelta(0)).make()

    assert third.expired == 2
    assert vault.backups.names() == [third.name]
    assert not list(vault.backups.sets.glob(f"*{first.name}*"))


@pytest.mark.parametrize("fault", ["database", "bodies", "manifest"])
def test_a_backup_that_fails_leaves_no_set_and_older_ones_stay_whole(
    backup: Backup, vault: Vault, world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    first = backup.make()
    world.submit(world.carol)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    where = {
        "database": "clinic.sealed_part.os.fsync",
        "bodies": "clinic.records.blob_folder.os.fsync",
        "manifest": "clinic.records.backup.write_durably",
    }[fault]
    monkeypatch.setattr(where, full)
    with pytest.raises((OSError, StorageFullError), match="No space left"):
        backup.make()
    monkeypatch.undo()

    assert [one.name for one in vault.backups.sets.iterdir()] == [first.name]
    assert vault.backups.verify(None)
    assert backup.make().copied in {0, 1}


def test_what_a_killed_run_left_is_removed_by_the_next(backup: Backup, vault: Vault) -> None:
    left = vault.backups.sets / ".unfinished.abc" / "set"
    left.mkdir(parents=True)
    (left / DATABASE_FILE).write_bytes(b"half")

    backup.make()

    assert not left.exists()
    assert len(list(vault.backups.sets.iterdir())) == 1


def test_a_folder_of_another_database_is_refused_and_loses_nothing(
    backup: Backup, world: World, vault: Vault
) -> None:
    """As after a database was lost and made anew while the backups go on by the clock."""
    backup.make()
    before = kept(vault)
    last = vault.backups.manifest(None).audit_sequence
    with world.sessions() as session, session.begin():
        session.get_one(AuditEntry, last).mac = "0" * 64

    with pytest.raises(BackupRefusedError, match="backups of another database"):
        backup.make()

    assert kept(vault) == before


def test_tables_of_an_older_version_are_not_backed_up(backup: Backup, world: World) -> None:
    with world.sessions() as session, session.begin():
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(OutdatedTablesError, match=r"have the version 0001, .* run `flask db up"):
        backup.make()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


@pytest.mark.parametrize("file", [MANIFEST_FILE, DATABASE_FILE, BODIES_FILE, "a body"])
@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_or_missing_part_is_found_without_any_key(
    backup: Backup, vault: Vault, file: str, damage: Any
) -> None:
    name = backup.make().name
    place = vault.backups.place(name)
    damage(body_files(vault)[0] if file == "a body" else place / file)

    with pytest.raises(BackupDamagedError):
        vault.backups.verify(name)


def test_a_part_of_another_backup_is_found(backup: Backup, vault: Vault) -> None:
    first, second = (vault.backups.place(backup.make().name) for _ in range(2))
    (second / DATABASE_FILE).write_bytes((first / DATABASE_FILE).read_bytes())
    with pytest.raises(BackupDamagedError, match="belongs to another backup"):
        vault.backups.verify(second.name)


def test_bodies_that_changed_places_are_found(backup: Backup, vault: Vault) -> None:
    name = backup.make().name
    one, two, *_ = body_files(vault)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.raises(BackupDamagedError, match="was changed"):
        vault.backups.verify(name)


def test_a_manifest_of_another_installation_is_refused(backup: Backup, vault: Vault) -> None:
    backup.make()
    with pytest.raises(BackupDamagedError, match="another audit key"):
        BackupFolder(vault.backups.folder, b"x" * 32).verify(None)


def test_an_unknown_name_is_answered_with_the_newest(backup: Backup, vault: Vault) -> None:
    with pytest.raises(BackupRefusedError, match="There is no backup in"):
        vault.backups.verify(None)
    name = backup.make().name
    with pytest.raises(BackupRefusedError, match=f"the newest one is {name}"):
        vault.backups.verify("20000101T000000.000Z")
