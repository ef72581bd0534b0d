"""`flask --app web.app:create_backup_app backup` and `restore`: docs/runbook.md tells when."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask.cli import AppGroup, with_appcontext

from clinic.audit_event import AuditAction
from clinic.durable_files import write_durably
from clinic.erasure_ledger import ErasureLedger, LedgerError
from clinic.key_files import (
    ROOT_PUBLIC_FILE,
    KeyFilesExistError,
    read_key_files,
    write_key_files,
)
from clinic.keys_part import master_keys_in, open_keys, seal_keys
from clinic.master_key import UNNAMED, MasterKeyError
from clinic.records.backup import BackupDamagedError, BackupRefusedError
from clinic.records.blobs import BlobStoreAwayError, StorageFullError
from clinic.records.db import SessionFactory
from clinic.sealed_part import PartError, new_identity, read_identity
from web.schema import OutdatedTablesError
from web.services import backup_services

ACTOR = "command line"

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@contextmanager
def _in_words() -> Iterator[None]:
    """Whatever can be expected to fail ends the command with one sentence and status 1."""
    try:
        yield
    except (
        BackupRefusedError,
        BackupDamagedError,
        OutdatedTablesError,
        PartError,
        LedgerError,
        KeyFilesExistError,
        MasterKeyError,
        StorageFullError,
        BlobStoreAwayError,
        OSError,
    ) as error:
        raise click.ClickException(str(error)) from error


@click.group("backup", cls=AppGroup, invoke_without_command=True)
@click.pass_context
@with_appcontext
def backup_commands(context: click.Context) -> None:
    """Back up database and photo store; with a further word, do that instead."""
    if context.invoked_subcommand is not None:
        return
    with _in_words():
        made = backup_services().backup.make()
    click.echo(
        f"Backup {made.name}: {made.bodies} bodies, {made.copied} of them new; "
        f"{made.pruned} bodies without a row and {made.expired} old backups deleted."
    )
    for object_id in made.damaged:
        click.echo(f"Not in the photo store, or changed there: object {object_id}", err=True)
    if made.damaged:
        raise click.ClickException(f"The backup is whole but for {len(made.damaged)} bodies.")


@backup_commands.command("verify")
@click.argument("name", required=False)
def verify_backup(name: str | None) -> None:
    """Check every byte of the backup NAME, or of the newest one, without opening it."""
    folder = backup_services().backup.target
    with _in_words():
        manifest = folder.verify(name)
        found = folder.place(name).name
    click.echo(f"Backup {found} of {manifest.made_at:%Y-%m-%d %H:%M} UTC is whole.")
    if manifest.master_keys:
        click.echo(f"It needs the master keys {_named(manifest.master_keys)}.")
    if manifest.damaged:
        click.echo(f"When it was made, {len(manifest.damaged)} bodies were damaged already.")


def _named(master_keys: tuple[str, ...]) -> str:
    """Their ids; a backup may hold keys from before there were any."""
    return ", ".join("of that time" if one == UNNAMED else one for one in master_keys)


@backup_commands.command("list")
def list_backups() -> None:
    """Name the backups, oldest first."""
    for name in backup_services().backup.target.names():
        click.echo(name)


@backup_commands.command("new-keys")
@click.argument("folder", type=click.Path(path_type=Path))
def make_backup_keys(folder: Path) -> None:
    """Make two key pairs of age in FOLDER, one for each encrypted part."""
    with _in_words():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in ("database", "keys"):
            identity, recipient = new_identity()
            write_durably(folder / f"{part}.identity", f"{identity}\n".encode())
            click.echo(f"Public key of the {part}: {recipient}")
    click.echo("Take the .identity files offline: each of them opens its own part alone.")


@backup_commands.command("keys")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The folder of the key files.",
)
@click.option("--recipient", required=True, help="The public key of the keys' part.")
def back_up_keys(out: Path, folder: Path, recipient: str) -> None:
    """Write the key files, encrypted, to the new file OUT. The root's private key is not in it."""
    backup = backup_services().backup
    if recipient == backup.recipient:
        raise click.ClickException(
            "This is the public key of the database's part. Whoever held its secret half could "
            "open both: take another."
        )
    with _in_words():
        files = read_key_files(folder)
        ids = master_keys_in(files)
        seal_keys(files, out, recipient=recipient)
    _record_keys_backup(backup.sessions)
    click.echo(f"The keys are in {out}. Keep it apart from the other parts.")
    click.echo(f"Master keys in it: {', '.join(ids)}.")


def _record_keys_backup(sessions: SessionFactory) -> None:
    with sessions() as session, session.begin():
        auditor = backup_services().backup.auditor
        auditor.record(session, AuditAction.BACKUP_MADE, ACTOR, detail="the key files")


@click.command("restore-keys")
@click.argument("part", type=_file)
@click.option("--identity", type=_file, required=True, help="The secret half of its key.")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True)
def restore_keys(part: Path, identity: Path, folder: Path) -> None:
    """Write the key files of PART into an empty folder: the first step of a restore."""
    with _in_words():
        files = open_keys(part, identity=read_identity(identity))
        ids = master_keys_in(files)
        write_key_files(folder, files)
    click.echo(f"Keys written to {folder}. Root public key: {files[ROOT_PUBLIC_FILE].decode()}")
    click.echo("Compare it with the one that was printed when the installation was made.")
    click.echo(f"Master keys: {', '.join(ids)}. `flask backup verify` names those that it needs.")


@click.command("restore")
@click.argument("name", required=False)
@click.option("--identity", type=_file, required=True, help="The secret key of the database part.")
@click.option("--ledger", type=_file, help="The newest erasure ledger there is.")
@click.option(
    "--let-erased-patients-return",
    is_flag=True,
    help="Restore without a newer ledger: whoever was erased after the backup comes back. That "
    "breaks the promise made to them. Only where nobody was erased since, or the ledger is lost.",
)
@with_appcontext
def restore_records(
    name: str | None, identity: Path, ledger: Path | None, *, let_erased_patients_return: bool
) -> None:
    """Restore the backup NAME, or the newest one, into an empty installation."""
    restore = backup_services().restore
    if (ledger is None) is not let_erased_patients_return:
        raise click.UsageError(
            "Give --ledger with the newest erasure ledger: the installation's own "
            f"({restore.ledger.path}) if it survived, else erasures.jsonl of the newest backup. "
            "Without one, patients who were erased after this backup would come back; "
            "--let-erased-patients-return says that you accept that."
        )
    newest = ErasureLedger(ledger, restore.auditor.key) if ledger else None
    with _in_words():
        done = restore.run(name, identity=read_identity(identity), newest=newest)
    click.echo(
        f"Restored {done.name}: {done.rows} rows, {done.bodies} bodies; "
        f"{done.erased} patients were erased again."
    )
    click.echo(f"The keeper's file must hold the master keys {_named(done.master_keys)}.")
    if done.damaged:
        click.echo(f"{len(done.damaged)} bodies were damaged before the backup already.", err=True)
