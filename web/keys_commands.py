"""`flask keys ...`: the life of every key. docs/runbook.md tells when to use which.

Commands that take a master key or the root's key need it for this one run alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.cli import AppGroup

from clinic.audit_event import AuditAction
from clinic.crypto_inventory import INVENTORY
from clinic.durable_files import write_durably
from clinic.epoch_key import root_fingerprint
from clinic.escrow import EscrowError
from clinic.key_files import (
    add_master_key,
    read_root_private,
    read_root_public,
    retire_master_keys,
)
from clinic.master_key import UNNAMED, LocalMasterKey, MasterKeyError, read_master_key
from clinic.records import emergency_access, erasure, key_rotation, key_status, keys
from clinic.records.emergency_access import (
    EmergencyAccess,
    EmergencyRefusedError,
    EmergencyRequest,
    Opened,
)
from clinic.records.key_destruction import KeyStillNeededError, destroy_epoch
from clinic.records.key_rotation import RotationError
from clinic.records.key_status import EpochState
from clinic.sealed_part import PartError, new_identity, read_identity, seal_bytes
from web.services import key_services

ACTOR = "command line"
EPOCHS_AHEAD = 4

_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_master_key = click.option("--master-key", type=click.Path(path_type=Path), required=True)
_root_key = click.option("--root-key", type=click.Path(path_type=Path), required=True)

keys_commands = AppGroup("keys", help="The life of the keys: made, exchanged, destroyed.")


@contextmanager
def _in_words() -> Iterator[None]:
    """Whatever can be expected to fail ends the command with one sentence and status 1."""
    try:
        yield
    except (
        MasterKeyError,
        KeyStillNeededError,
        RotationError,
        EscrowError,
        EmergencyRefusedError,
        PartError,
        OSError,
    ) as error:
        raise click.ClickException(str(error)) from error


@keys_commands.command("epoch")
@_master_key
@_root_key
def make_epoch(master_key: Path, root_key: Path) -> None:
    """Make a new epoch key pair, signed by the root, valid from now."""
    master, root = _master_and_root(master_key, root_key)
    parts = key_services()
    with _in_words(), parts.sessions() as session, session.begin():
        kid = keys.publish_epoch(session, master, root, escrow=parts.escrow)
        parts.auditor.record(session, AuditAction.EPOCH_KEY_MADE, ACTOR, detail=kid)
    click.echo(f"New epoch key {kid}.")


@keys_commands.command("epochs")
@_master_key
@_root_key
@click.option("--count", type=click.IntRange(1, 30), default=EPOCHS_AHEAD, show_default=True)
def make_epochs(master_key: Path, root_key: Path, count: int) -> None:
    """Make epoch keys ahead: each begins three days before the one before it ends."""
    master, root = _master_and_root(master_key, root_key)
    parts = key_services()
    with _in_words(), parts.sessions() as session, session.begin():
        made = keys.publish_epochs(session, master, root, count=count, escrow=parts.escrow)
        for kid in made:
            parts.auditor.record(session, AuditAction.EPOCH_KEY_MADE, ACTOR, detail=kid)
        end = keys.sealable_until(session)
    for kid in made:
        click.echo(f"New epoch key {kid}.")
    click.echo(f"Photos can be sealed until {end:%Y-%m-%d %H:%M} UTC.")


def _master_and_root(master_key: Path, root_key: Path) -> tuple[LocalMasterKey, Ed25519PrivateKey]:
    with _in_words():
        master = read_master_key(master_key)
    try:
        return master, read_root_private(root_key)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The root key {root_key} cannot be used: {error}") from error


@keys_commands.command("destroy-epoch")
@click.argument("kid")
def destroy_one_epoch(kid: str) -> None:
    """Destroy the epoch key KID, an hour after its end, once no object is sealed to it any more."""
    parts = key_services()
    with _in_words(), parts.sessions() as session, session.begin():
        destroy_epoch(session, parts.auditor, kid=kid, actor=ACTOR)
    click.echo(f"The epoch key {kid} is destroyed.")


@keys_commands.command("status")
@click.option("--master-key", type=click.Path(path_type=Path), help="Also check that file.")
def show_status(master_key: Path | None) -> None:
    """List every kind of key: ids, periods, and what still needs them."""
    with key_services().sessions() as session:
        found = key_status.status(session)
    for epoch in found.epochs:
        click.echo(_described(epoch))
    living, destroyed = found.patient_keys
    click.echo(f"Patients' keys: {living} living, {destroyed} destroyed.")
    for key_id, count in found.master_keys.items():
        current = ", wraps what is new" if key_id == found.current_master else ""
        click.echo(f"Master key {key_id}: wraps {count} keys{current}.")
    click.echo(f"Living keys without an emergency copy: {found.without_copy}.")
    for program, count in found.processes.items():
        click.echo(f"Process keys of {program}: {count}.")
    if not found.next_epoch:
        click.echo("No epoch key follows the present one: make the next ones.", err=True)
    if master_key is not None:
        _check_master_file(master_key, found.master_keys)


def _described(epoch: EpochState) -> str:
    period = f"{epoch.not_before:%Y-%m-%d %H:%M} to {epoch.not_after:%Y-%m-%d %H:%M} UTC"
    listing = "" if epoch.state == "destroyed" else f", {epoch.objects} objects list it"
    return f"Epoch key {epoch.kid}: {epoch.state}, {period}{listing}."


def _check_master_file(path: Path, needed: dict[str, int]) -> None:
    with _in_words():
        at_hand = read_master_key(path).ids()
    missing = sorted(set(needed) - set(at_hand) - {UNNAMED})
    if missing:
        raise click.ClickException(
            f"{path} holds the master key {', '.join(at_hand)}; {', '.join(missing)} is needed too."
        )
    click.echo(f"{path} holds every master key that is needed.")


@keys_commands.command("add-master")
@click.argument("file", type=click.Path(path_type=Path))
def add_master(file: Path) -> None:
    """Put a new master key in front of those in FILE. The keeper then needs to see this file."""
    with _in_words():
        key_id = add_master_key(file)
    click.echo(f"New master key {key_id} in {file}; nothing is wrapped by it yet.")
    click.echo("Back up the key files now, let the keeper see the file, then rotate-master.")


@keys_commands.command("rotate-master")
@_master_key
def rotate_master(master_key: Path) -> None:
    """Wrap every stored key by the first key of the file. Cut off, it goes on when run again."""
    parts = key_services()
    with _in_words():
        master = read_master_key(master_key)
        done = key_rotation.rotate_master(parts.sessions, master, parts.auditor, actor=ACTOR)
    click.echo(f"{done.rewrapped} keys are now wrapped by {done.key_id}.")
    if done.unopened:
        names = ", ".join(done.unopened)
        raise click.ClickException(f"No master key in {master_key} opens {names}.")


@keys_commands.command("retire-master")
@click.argument("file", type=click.Path(path_type=Path))
def retire_master(file: Path) -> None:
    """Destroy all master keys in FILE but the first, if no stored key needs them."""
    parts = key_services()
    with _in_words():
        master = read_master_key(file)
        key_rotation.retire_master(
            parts.sessions,
            master,
            parts.auditor,
            drop=lambda: retire_master_keys(file),
            actor=ACTOR,
        )
    keep, *gone = master.ids()
    click.echo(f"{file} holds {keep} alone. Gone: {', '.join(gone) or 'none'}.")
    click.echo("Older backups still need what is gone: keep its backup for as long as them.")


@keys_commands.command("rotate-patient")
@click.argument("reference")
@_master_key
def rotate_patient(reference: str, master_key: Path) -> None:
    """Give the patient with this record number or id a new key, and destroy the old one."""
    parts = key_services()
    with _in_words():
        master = read_master_key(master_key)
        with parts.sessions() as session, session.begin():
            patient = erasure.find_patient(session, reference)
            if patient is None:
                raise RotationError(
                    f"There is no patient with the record number or id {reference}."
                )
            moved = key_rotation.rotate_patient(
                session,
                master,
                parts.auditor,
                patient_id=patient.patient_id,
                actor=ACTOR,
                escrow=parts.escrow,
            )
    click.echo(f"New key of {patient.record_number}: {moved} objects are wrapped under it.")


@keys_commands.command("escrow-init")
@click.argument("half_a", type=click.Path(path_type=Path))
@click.argument("half_b", type=click.Path(path_type=Path))
def make_halves(half_a: Path, half_b: Path) -> None:
    """Make two emergency halves, one for each of two people, and print the setting for them."""
    pairs = [new_identity(), new_identity()]
    with _in_words():
        for path, (identity, _) in zip((half_a, half_b), pairs, strict=True):
            write_durably(path, f"{identity}\n".encode())
    click.echo(f"DERMQUEUE_ESCROW_RECIPIENTS={','.join(recipient for _, recipient in pairs)}")
    click.echo("Give each file to another person, offline. Then restart the keeper with this")
    click.echo("setting, and run `flask keys escrow-renew` for the keys that exist already.")


@keys_commands.command("escrow-renew")
@_master_key
def renew_copies(master_key: Path) -> None:
    """Give every living key an emergency copy for the two people in the settings."""
    parts = key_services()
    if parts.escrow is None:
        raise click.ClickException("DERMQUEUE_ESCROW_RECIPIENTS is not set: see escrow-init.")
    with _in_words():
        master = read_master_key(master_key)
        made = emergency_access.renew_copies(
            parts.sessions, master, parts.escrow, parts.auditor, actor=ACTOR
        )
    click.echo(f"{made} keys have an emergency copy for these two people.")


@keys_commands.command("escrow-open")
@click.argument("case")
@click.option("--half-a", type=_file, required=True)
@click.option("--half-b", type=_file, required=True)
@click.option("--reason", required=True, help="Why; it is in the audit log, which patients see.")
@click.option("--by", required=True, help="The name of the first person.")
@click.option("--and-by", required=True, help="The name of the second person.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--sealed-to", help="A public key of age that each file is encrypted to.")
@click.option("--plain", is_flag=True, help="Write the files in clear.")
def open_case(  # noqa: PLR0913 - each is a question that an emergency must answer
    case: str,
    *,
    half_a: Path,
    half_b: Path,
    reason: str,
    by: str,
    and_by: str,
    out: Path,
    sealed_to: str | None,
    plain: bool,
) -> None:
    """Open the photos and texts of CASE (its id) in an emergency, without keeper or master key.

    The audit entry is written first. Administrators see it on the operations page.
    """
    if (sealed_to is None) is not plain:
        raise click.UsageError("Give --sealed-to with a public key of age, or --plain.")
    parts = key_services()
    with _in_words():
        if sealed_to is not None:
            seal_bytes(b"", recipient=sealed_to)  # a wrong key is found before anything happens
        halves = (read_identity(half_a), read_identity(half_b))
        request = EmergencyRequest(case.replace("-", "").lower(), halves, reason, (by, and_by))
        out.mkdir(mode=0o700)
        access = EmergencyAccess(parts.sessions, parts.blobs, parts.auditor)
        opened = access.open_case(request, actor=ACTOR)
        closed = [one for one in opened if not _written(out, one, sealed_to)]
    click.echo(f"{len(opened) - len(closed)} of {len(opened)} objects are in {out}.")
    for one in closed:
        click.echo(f"{one.kind} {one.slot} stays closed: {one.problem}", err=True)
    if closed:
        raise click.ClickException("The case is not complete.")


def _written(out: Path, one: Opened, sealed_to: str | None) -> bool:
    if one.content is None:
        return False
    name = "-".join(str(part) for part in (one.kind, one.slot, one.view) if part is not None)
    name += _suffix(one.content)
    if sealed_to is None:
        write_durably(out / name, one.content)
    else:
        write_durably(out / f"{name}.age", seal_bytes(one.content, recipient=sealed_to))
    return True


def _suffix(content: bytes) -> str:
    if content.startswith(b"\xff\xd8"):
        return ".jpg"
    return ".png" if content.startswith(b"\x89PNG") else ".txt"


@keys_commands.command("fingerprint")
@click.argument("root_public", type=_file)
def show_fingerprint(root_public: Path) -> None:
    """Print the fingerprint of the root's public key in this file, as it is published."""
    with _in_words():
        click.echo(root_fingerprint(read_root_public(root_public)))


@keys_commands.command("inventory")
def show_inventory() -> None:
    """List every cryptographic algorithm in use: its id, what for, by which standard."""
    for one in INVENTORY:
        click.echo(f"{one.name} | {one.identifier} | {one.use} | {one.standard} | {one.quantum}")
