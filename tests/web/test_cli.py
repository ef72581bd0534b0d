"""The engineer's commands: what they do, and one clear sentence for wrong input."""

import base64
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import delete, update

from clinic.audit_event import AuditAction
from clinic.epoch_key import root_fingerprint
from clinic.records import accounts, ehr_clients
from clinic.records.models import Account, AuditEntry, EhrClient
from tests.portal_tools import count, entries, send
from tests.world import World
from web.cli import init_key_files
from web.database import db

STAFF = ("--given-name", "Dora", "--family-name", "Derm", "--clinic", "clinic-1")


@pytest.fixture
def run(app: Flask) -> Any:
    """`flask ...` in this installation."""
    return lambda *args: app.test_cli_runner().invoke(args=[str(one) for one in args])


def refused(result: Result, sentence: str) -> bool:
    """A wrong input ends with a code and a sentence, never with a traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    return sentence in result.output


def test_every_group_explains_itself(app: Flask) -> None:
    for group in ("keys", "users", "clinics", "audit", "ehr-clients"):
        assert app.test_cli_runner().invoke(args=[group, "--help"]).exit_code == 0


@pytest.fixture
def key_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "new keys"
    result = CliRunner().invoke(init_key_files, [str(folder)])
    assert result.exit_code == 0
    assert "Move root.key to a place offline" in result.output
    public = base64.b64decode((folder / "root.pub").read_bytes())
    assert f"Its fingerprint, to publish: {root_fingerprint(public)}" in result.output
    return folder


def test_key_files_are_readable_by_their_owner_alone_and_never_overwritten(
    key_folder: Path,
) -> None:
    before = {path.name: path.read_bytes() for path in key_folder.iterdir()}
    assert len(set(before.values())) == len(before) == 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in key_folder.iterdir()} == {0o400}

    again = CliRunner().invoke(init_key_files, [str(key_folder)])

    assert refused(again, "is not empty; keys are never overwritten.")
    assert {path.name: path.read_bytes() for path in key_folder.iterdir()} == before


@pytest.mark.parametrize(
    ("role", "extra"),
    [
        ("administrator", ()),
        ("auditor", ()),
        ("dermatologist", ("--registration-number", "GMC-1234567")),
    ],
)
def test_staff_are_created_with_a_random_password_shown_once(
    run: Any, app: Flask, world: World, role: str, extra: tuple[str, ...]
) -> None:
    result = run("users", "create", role, "--email", "dora@example.org", *STAFF, *extra)

    assert result.exit_code == 0, result.output
    password = re.search(r"shown once: (\S{12,})", result.output).group(1)
    with world.sessions() as session:
        account = accounts.account_by_email(session, world.secrets, "dora@example.org")
    assert account is not None
    assert (account.role, account.clinic_id) == (role, world.clinic_id)
    assert password not in account.password_hash
    client = app.test_client()
    answer = send(client, "/sign-in", {"email": "dora@example.org", "password": password})
    assert client.get(answer.location).location == "/second-factor"
    assert client.get("/second-factor").location == "/second-factor/new"
    assert [one.detail for one in entries(world, AuditAction.ACCOUNT_CREATED)] == [role]


def test_wrong_staff_is_refused_in_words(run: Any, world: World) -> None:
    before = count(world, Account)

    def create(role: str, email: str) -> Result:
        return run("users", "create", role, "--email", email, *STAFF)

    needs_number = create("dermatologist", "dora@example.org")
    assert refused(needs_number, "A dermatologist needs --registration-number.")
    taken = create("administrator", "ALICE@example.org")
    assert refused(taken, "ALICE@example.org has an account already.")
    assert refused(create("patient", "dora@example.org"), "Invalid value for")
    assert refused(run("users", "create", "administrator"), "Missing option '--email'")
    assert count(world, Account) == before


def test_the_audit_chain_is_verified(run: Any, world: World) -> None:
    world.screened(world.alice)
    assert run("audit", "verify").output == "The audit chain holds.\n"
    with world.sessions() as session, session.begin():
        session.execute(update(AuditEntry).where(AuditEntry.sequence == 1).values(allowed=False))

    assert refused(run("audit", "verify"), "Error: Entry 1 was changed.")
    with world.sessions() as session, session.begin():
        session.execute(delete(AuditEntry))
    assert refused(run("audit", "verify"), "Entry 1 is missing: the chain's head stands at")


def test_a_record_system_is_registered_and_its_token_shown_once(run: Any, world: World) -> None:
    result = run("ehr-clients", "register", "The hospital's record system", "--clinic", "clinic-1")

    token = re.search(r"shown once: (\S+)", result.output).group(1)
    with world.sessions() as session:
        found = ehr_clients.by_token(session, token)
        assert found is not None
        client = session.get_one(EhrClient, found.id)
    assert (client.name, client.clinic_id) == ("The hospital's record system", world.clinic_id)
    assert token not in str(vars(client))
    (entry,) = entries(world, AuditAction.EHR_CLIENT_REGISTERED)
    assert entry.detail == client.id
    assert token not in entry.detail


def test_before_the_first_clinic_the_missing_step_is_named(app: Flask) -> None:
    with app.app_context():
        db.drop_all()
        db.create_all()
    runner = app.test_cli_runner()
    staff = ["users", "create", "administrator", "--email", "dora@example.org", *STAFF]

    for command in (staff, ["ehr-clients", "register", "A system"]):
        assert refused(runner.invoke(args=command), "run `flask clinics create`")
