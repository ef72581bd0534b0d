"""`flask ...`: what the clinic's engineer runs.

`flask --app web.app:create_admin_app --help` lists it all.
"""

import base64
from pathlib import Path

import click
from flask import Flask
from flask.cli import AppGroup

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.epoch_key import root_fingerprint
from clinic.key_files import KeyFilesExistError, create_key_files
from clinic.records import ehr_clients, invitations
from clinic.records.models import Clinic
from web.audit_commands import audit_commands
from web.clinics_commands import chosen_clinic, clinic_option, clinics_commands
from web.database import db
from web.services import admin_services

ACTOR = "command line"

users_commands = AppGroup("users", help="People of the clinics.")
ehr_commands = AppGroup("ehr-clients", help="Record systems that may read signed reports.")


def register_commands(app: Flask) -> None:
    for group in (
        users_commands,
        clinics_commands,
        audit_commands,
        ehr_commands,
    ):
        app.cli.add_command(group)


def _record(action: AuditAction, *, clinic_id: str | None = None, detail: str = "") -> None:
    admin_services().auditor.record(db.session(), action, ACTOR, clinic_id=clinic_id, detail=detail)
    db.session.commit()


def _invite(role: Role, clinic: Clinic) -> None:
    token = invitations.invite(db.session(), clinic_id=clinic.id, role=role)
    _record(AuditAction.PERSON_INVITED, clinic_id=clinic.id, detail=role)
    click.echo(f"Invitation for a new {role} of {clinic.name}. It works once, for 24 hours:")
    click.echo(f"{admin_services().public_url}/join/{token}")


@users_commands.command("invite")
@click.argument("role", type=click.Choice(sorted(role.value for role in STAFF)))
@clinic_option
def invite_user(role: str, slug: str | None) -> None:
    """Print a one-time link with which somebody joins the staff.

    They choose name and password themselves and set up a second factor.
    """
    _invite(Role(role), chosen_clinic(slug))


@users_commands.command("invite-administrator")
@clinic_option
def invite_administrator(slug: str | None) -> None:
    """Print a one-time link for an administrator: how the first person comes in."""
    _invite(Role.ADMINISTRATOR, chosen_clinic(slug))


@ehr_commands.command("register")
@click.argument("name")
@clinic_option
def register_ehr_client(name: str, slug: str | None) -> None:
    """Register a record system of one clinic and print its bearer token once."""
    clinic = chosen_clinic(slug)
    registered = ehr_clients.register(db.session(), clinic_id=clinic.id, name=name)
    _record(AuditAction.EHR_CLIENT_REGISTERED, clinic_id=clinic.id, detail=registered.client_id)
    click.echo(f"Client {registered.client_id}. Bearer token, shown once: {registered.token}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init_key_files(folder: Path) -> None:
    """Make the key files of a new installation in FOLDER. They are never overwritten."""
    try:
        public = create_key_files(folder)
    except KeyFilesExistError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Keys written to {folder}. Root public key: {public}")
    click.echo(f"Its fingerprint, to publish: {root_fingerprint(base64.b64decode(public))}")
    click.echo("Move root.key to a place offline: it only signs new epoch keys.")


if __name__ == "__main__":
    init_key_files()
