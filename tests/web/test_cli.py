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
from clinic.records import ehr_clients, invitations
from clinic.records.models import Account, AuditEntry, EhrClient, Invitation
from tests.portal_tools import count, entries
from tests.world import World
from web.cli import init_key_files
from web.database import db


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


INVITATIONS = [
    (("invite-administrator",), "administrator"),
    (("invite", "administrator"), "administrator"),
    (("invite", "auditor"), "auditor"),
    (("invite", "dermatologist"), "dermatologist"),
]


@pytest.mark.parametrize(("command", "role"), INVITATIONS)
def test_staff_come_in_by_a_link_that_is_shown_once(
    run: Any, app: Flask, world: World, command: tuple[str, ...], role: str
) -> None:
    before = count(world, Account)

    result = run("users", *command, "--clinic", "clinic-1")

    assert result.exit_code == 0, result.output
    link = re.search(r"http://localhost(/join/\S{43})$", result.output, re.MULTILINE).group(1)
    assert count(world, Account) == before, "nobody exists before they choose a password"
    with world.sessions() as session:
        invitation = invitations.find(session, link.removeprefix("/join/"))
    assert (invitation.role, invitation.clinic_id) == (role, world.clinic_id)
    assert app.test_client().get(link).status_code == 200
    (entry,) = entries(world, AuditAction.PERSON_INVITED)
    assert (entry.actor, entry.detail) == ("command line", role)


def test_an_invitation_can_be_for_another_clinic(run: Any) -> None:
    result = run("users", "invite-administrator", "--clinic", "clinic-2")

    assert "of Clinic 2" in result.output
    wrong = run("users", "invite-administrator", "--clinic", "nowhere")
    assert refused(wrong, "There is no clinic with the address nowhere")


def test_patients_are_not_invited(run: Any, world: World) -> None:
    assert refused(run("users", "invite", "patient"), "Invalid value for")
    assert count(world, Invitation) == 0


def test_a_fresh_database_has_nobody_in_it(app: Flask, world: World) -> None:
    with app.app_context():
        db.drop_all()
        db.create_all()

    assert count(world, Account) == 0


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

    for command in (["users", "invite-administrator"], ["ehr-clients", "register", "A system"]):
        assert refused(runner.invoke(args=command), "run `flask clinics create`")
