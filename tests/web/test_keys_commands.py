"""`flask keys ...`: the life of the keys by command, and one clear sentence for wrong input."""

import base64
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select, update

from clinic.audit_event import AuditAction
from clinic.container import AEAD_AES_256_GCM, KDF_HKDF_SHA256, KEM_X25519
from clinic.epoch_key import root_fingerprint
from clinic.escrow import Escrow
from clinic.keeper_protocol import ObjectKind
from clinic.key_files import create_key_files
from clinic.master_key import MasterKeyError, read_master_key
from clinic.records import keys, sealed_objects
from clinic.records.db import database_now
from clinic.records.models import EpochKeyRow, PatientKey
from clinic.sealed_part import new_identity
from tests.portal_tools import count, entries
from tests.world import World
from web.services import EXTENSION

Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask) -> Run:
    """`flask ...` in this installation."""
    return lambda *args: app.test_cli_runner().invoke(args=[str(one) for one in args])


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def refused(result: Result, sentence: str) -> bool:
    """A wrong input ends with a code and a sentence, never with a traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    return sentence in result.output


def private_file(path: Path, content: bytes, *, mode: int = 0o400) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def master(world: World, tmp_path: Path) -> Path:
    """The file of the world's master key."""
    return private_file(tmp_path / "master.key", world.master.key)


@pytest.fixture
def root(world: World, tmp_path: Path) -> Path:
    return private_file(tmp_path / "root.key", world.root_private.private_bytes_raw())


@pytest.fixture
def by_keys(master: Path, root: Path) -> list[str | Path]:
    return ["--master-key", master, "--root-key", root]


def settled_case(world: World) -> str:
    case = world.signed(world.alice, world.bob)
    world.keeper.settle(world.alice.patient_id or "")
    return case


# --- epoch keys ---


def test_a_new_epoch_key_is_signed_by_the_root_and_current_from_now(
    run: Run, world: World, by_keys: list[str | Path]
) -> None:
    with world.sessions() as session, session.begin():
        older = session.query(EpochKeyRow).one()
        older.not_before -= timedelta(minutes=1)

    output = done(run("keys", "epoch", *by_keys))

    kid = re.search(r"New epoch key (epoch-\w+)\.", output).group(1)
    with world.sessions() as session:
        assert keys.sealing_recipient(session, world.root_public_key).kid == kid
    assert [one.detail for one in entries(world, AuditAction.EPOCH_KEY_MADE)] == [kid]


def test_a_batch_of_epoch_keys_is_made_ahead(
    run: Run, world: World, by_keys: list[str | Path]
) -> None:
    output = done(run("keys", "epochs", *by_keys, "--count", 3))

    made = re.findall(r"New epoch key (epoch-\w+)\.", output)
    assert len(made) == 3
    assert [one.detail for one in entries(world, AuditAction.EPOCH_KEY_MADE)] == made
    with world.sessions() as session:
        end = keys.sealable_until(session)
        assert session.get_one(EpochKeyRow, made[-1]).not_after == end
    assert f"can be sealed until {end:%Y-%m-%d %H:%M} UTC" in output
    assert refused(run("keys", "epochs", *by_keys, "--count", 0), "is not in the range")


def test_an_epoch_key_needs_usable_key_files(
    run: Run, world: World, master: Path, root: Path, tmp_path: Path
) -> None:
    open_to_all = private_file(tmp_path / "open.key", b"x" * 32, mode=0o644)
    short = private_file(tmp_path / "short.key", b"x" * 5)
    strange = private_file(tmp_path / "strange.key", b"x" * 32)
    before = count(world, EpochKeyRow)

    def epoch(master: Path, root: Path) -> Result:
        return run("keys", "epoch", "--master-key", master, "--root-key", root)

    assert refused(epoch(tmp_path / "none", root), "cannot be read")
    assert refused(epoch(open_to_all, root), "is open to others: chmod 0400 it.")
    assert refused(epoch(short, root), "must hold 32 bytes")
    assert refused(epoch(strange, root), f"master key {world.master.ids()[0]} is needed")
    assert refused(epoch(master, tmp_path / "none"), "cannot be used")
    assert refused(epoch(master, short), "cannot be used")
    assert refused(run("keys", "epoch"), "Missing option")
    assert count(world, EpochKeyRow) == before


def test_an_epoch_key_is_destroyed_once_it_is_over_and_free(run: Run, world: World) -> None:
    case = settled_case(world)
    world.keeper.settle(world.carol.patient_id or "")
    with world.sessions() as session:
        (kid,) = session.scalars(select(EpochKeyRow.kid))
        over = database_now(session) - timedelta(hours=2)
    assert refused(run("keys", "destroy-epoch", kid), "is valid until")

    with world.sessions() as session, session.begin():
        session.execute(update(EpochKeyRow).values(not_after=over))
    assert done(run("keys", "destroy-epoch", kid)) == f"The epoch key {kid} is destroyed.\n"

    with world.sessions() as session:
        (row,) = sealed_objects.of_submission(session, case, [ObjectKind.LETTER])
        assert world.keeper._opened(session, row)
    assert f"Epoch key {kid}: destroyed" in run("keys", "status").output


def test_the_status_tells_of_every_kind_of_key(
    run: Run, world: World, master: Path, tmp_path: Path
) -> None:
    settled_case(world)
    world.submit(world.carol)
    (key_id,) = world.master.ids()

    output = done(run("keys", "status", "--master-key", master))

    with world.sessions() as session:
        kid = keys.current_epoch(session).epoch.kid
    assert re.search(rf"Epoch key {kid}: valid, .* UTC, 3 objects list it\.", output)
    assert "Patients' keys: 1 living, 0 destroyed." in output
    assert f"Master key {key_id}: wraps 2 keys, wraps what is new." in output
    assert "Living keys without an emergency copy: 2." in output
    assert "Process keys of worker: 1." in output
    assert "No epoch key follows the present one" in output
    assert "holds every master key that is needed" in output

    strange = private_file(tmp_path / "strange.key", b"x" * 32)
    wrong = run("keys", "status", "--master-key", strange)
    assert refused(wrong, f"{key_id} is needed too")


# --- master and patient keys ---


def test_the_master_key_is_exchanged_by_three_commands(
    run: Run, world: World, master: Path
) -> None:
    case = settled_case(world)
    (old,) = world.master.ids()

    new = re.search(r"New master key (\w+) in", done(run("keys", "add-master", master))).group(1)
    assert read_master_key(master).ids() == (new, old)
    assert refused(run("keys", "retire-master", master), "2 stored keys still need another")
    rotated = done(run("keys", "rotate-master", "--master-key", master))
    assert rotated == f"2 keys are now wrapped by {new}.\n"
    retired = done(run("keys", "retire-master", master))

    assert f"Gone: {old}." in retired
    assert "Older backups still need what is gone" in retired
    left = read_master_key(master)
    assert left.ids() == (new,)
    with world.sessions() as session:
        (row,) = sealed_objects.of_submission(session, case, [ObjectKind.LETTER])
        assert replace(world.keeper, master=left)._opened(session, row)
        with pytest.raises(MasterKeyError, match=f"{new} is needed"):
            world.keeper._opened(session, row)


def test_a_key_that_no_master_key_opens_is_named(run: Run, world: World, tmp_path: Path) -> None:
    with world.sessions() as session:
        (kid,) = session.scalars(select(EpochKeyRow.kid))
    strange = private_file(tmp_path / "strange.key", b"x" * 32)
    assert refused(run("keys", "rotate-master", "--master-key", strange), f"opens {kid}")


def test_a_patient_gets_a_new_key_by_record_number(run: Run, world: World, master: Path) -> None:
    settled_case(world)

    output = done(run("keys", "rotate-patient", world.alice.patient_id, "--master-key", master))

    assert ": 8 objects are wrapped under it." in output
    with world.sessions() as session:
        versions = session.scalars(select(PatientKey.version).order_by(PatientKey.version)).all()
    assert versions == [1, 2]
    nobody = run("keys", "rotate-patient", "DQ-NOBODY", "--master-key", master)
    assert refused(nobody, "There is no patient with the record number or id DQ-NOBODY.")


# --- emergencies ---


@pytest.fixture
def halves(run: Run, tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "half-a", tmp_path / "half-b"
    done(run("keys", "escrow-init", *paths))
    return paths


@pytest.fixture
def case(run: Run, app: Flask, world: World, master: Path, halves: tuple[Path, Path]) -> str:
    """A settled case whose keys have emergency copies for the two people."""
    recipients = tuple(_public(path) for path in halves)
    services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(services, escrow=Escrow(recipients))
    case = settled_case(world)
    done(run("keys", "escrow-renew", "--master-key", master))
    return case


def _public(path: Path) -> str:
    import pyrage  # noqa: PLC0415

    return str(pyrage.x25519.Identity.from_str(path.read_text().strip()).to_public())


def emergency(case: str, halves: tuple[Path, Path], out: Path) -> list[str | Path]:
    given = ["keys", "escrow-open", case, "--half-a", halves[0], "--half-b", halves[1]]
    given += ["--reason", "The keeper is lost", "--by", "Ann Roe", "--and-by", "Ben Doe"]
    return [*given, "--out", out]


def test_two_halves_are_made_for_two_people(run: Run, tmp_path: Path) -> None:
    paths = tmp_path / "a", tmp_path / "b"
    output = done(run("keys", "escrow-init", *paths))

    setting = re.search(r"DERMQUEUE_ESCROW_RECIPIENTS=(\S+)\n", output).group(1)
    assert setting.split(",") == [_public(path) for path in paths]
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().strip() not in output
    assert refused(run("keys", "escrow-init", *paths), "File exists")


def test_two_people_open_a_case_in_clear(
    run: Run, world: World, case: str, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "opened"

    output = done(run(*emergency(case, halves, out), "--plain"))

    assert output == f"8 of 8 objects are in {out}.\n"
    assert (out / "letter-0.txt").read_bytes() == b"This spot is harmless."
    assert (out / "photo-0-close_up.jpg").read_bytes().startswith(b"\xff\xd8")
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in out.iterdir()} == {0o600}
    (entry,) = entries(world, AuditAction.EMERGENCY_ACCESS)
    assert entry.detail == "by Ann Roe and Ben Doe: The keeper is lost"


def test_what_is_opened_can_stay_sealed_for_somebody(
    run: Run, case: str, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    identity, recipient = new_identity()
    out = tmp_path / "opened"

    done(run(*emergency(case, halves, out), "--sealed-to", recipient))

    import pyrage  # noqa: PLC0415

    letter = (out / "letter-0.txt.age").read_bytes()
    opened = pyrage.decrypt(letter, [pyrage.x25519.Identity.from_str(identity)])
    assert opened == b"This spot is harmless."
    assert {one.suffix for one in out.iterdir()} == {".age"}


def test_an_emergency_with_something_missing_opens_nothing(
    run: Run, world: World, case: str, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    good = emergency(case, halves, tmp_path / "opened")
    same = [one if one != "Ben Doe" else "Ann Roe" for one in good]
    one_half = emergency(case, (halves[0], halves[0]), tmp_path / "opened")

    assert refused(run(*good), "Give --sealed-to")
    assert refused(run(*good, "--plain", "--sealed-to", "age1x"), "Give --sealed-to")
    assert refused(run(*good, "--sealed-to", "age1x"), "no public key of age")
    assert refused(run(*same, "--plain"), "Two different people")
    assert refused(run(*one_half, "--plain"), "two people are needed")
    assert not (tmp_path / "opened").exists()
    assert entries(world, AuditAction.EMERGENCY_ACCESS) == []


def test_wrong_halves_leave_an_entry_and_nothing_else(
    run: Run, world: World, case: str, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    stranger = private_file(tmp_path / "stranger", new_identity()[0].encode())
    out = tmp_path / "opened"

    result = run(*emergency(case, (halves[0], stranger), out), "--plain")

    assert refused(result, "The case is not complete.")
    assert "do not open the emergency copy" in result.output
    assert list(out.iterdir()) == []
    assert len(entries(world, AuditAction.EMERGENCY_ACCESS)) == 1


def test_copies_need_the_setting(run: Run, master: Path) -> None:
    result = run("keys", "escrow-renew", "--master-key", master)
    assert refused(result, "DERMQUEUE_ESCROW_RECIPIENTS is not set")


# --- what is published ---


def test_the_root_s_fingerprint_is_printed_as_it_is_published(run: Run, tmp_path: Path) -> None:
    public = create_key_files(tmp_path / "keys")
    output = done(run("keys", "fingerprint", tmp_path / "keys" / "root.pub"))
    assert output.strip() == root_fingerprint(base64.b64decode(public))
    other = private_file(tmp_path / "other", b"nonsense!")
    assert refused(run("keys", "fingerprint", other), "no public key in base64")


def test_the_inventory_lists_the_ids_of_the_container(run: Run) -> None:
    output = done(run("keys", "inventory"))
    for number in (KEM_X25519, KDF_HKDF_SHA256, AEAD_AES_256_GCM):
        assert f"{number:#06x}" in output
    assert "Ed25519" in output
