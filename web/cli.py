"""`flask ...`: what the clinic's engineer runs.

`flask --app web.app:create_admin_app --help` lists it all.
"""

import base64
import secrets
from pathlib import Path

import click
from flask import Flask
from flask.cli import AppGroup

from clinic.access import STAFF, Role
from clinic.audit_event import AuditAction
from clinic.epoch_key import root_fingerprint
from clinic.key_files import KeyFilesExistError, create_key_files
from clinic.records import accounts, ehr_clients
from clinic.records.accounts import EmailTakenError, NewAccount
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


@users_commands.command("create")
@click.argument("role", type=click.Choice(sorted(role.value for role in STAFF)))
@click.option("--email", required=True)
@click.option("--given-name", required=True)
@click.option("--family-name", required=True)
@click.option("--registration-number", help="Needed for dermatologists.")
@clinic_option
def create_user(
    role: str,
    email: str,
    given_name: str,
    family_name: str,
    registration_number: str | None,
    slug: str | None,
) -> None:
    """Create a member of staff. The first sign-in enrols the second factor."""
    if role == Role.DERMATOLOGIST and not registration_number:
        raise click.UsageError("A dermatologist needs --registration-number.")
    password = secrets.token_urlsafe(12)
    clinic = chosen_clinic(slug)
    new = NewAccount(
        clinic.id,
        Role(role),
        email,
        admin_services().passwords.hash(password),
        family_name,
        given_name,
        registration_number,
    )
    try:
        accounts.create_account(db.session(), admin_services().account_secrets, new)
    except EmailTakenError as error:
        raise click.ClickException(f"{email} has an account already.") from error
    _record(AuditAction.ACCOUNT_CREATED, clinic_id=clinic.id, detail=role)
    click.echo(f"First password, shown once: {password}")


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
