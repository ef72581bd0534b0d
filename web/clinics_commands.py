"""`flask clinics ...`: the clinics of this installation."""

from zoneinfo import available_timezones

import click
from flask.cli import AppGroup

from clinic.audit_event import AuditAction
from clinic.records import clinics
from clinic.records.clinics import ClinicNotFoundError, SlugError
from clinic.records.models import Clinic
from web.database import db
from web.services import admin_services

ACTOR = "command line"

clinics_commands = AppGroup("clinics", help="Clinics of this installation.")
clinic_option = click.option(
    "--clinic", "slug", help="The clinic's address; not needed where there is only one clinic."
)


def chosen_clinic(slug: str | None) -> Clinic:
    """The clinic that a command's --clinic names."""
    try:
        return clinics.chosen(db.session(), slug)
    except ClinicNotFoundError as error:
        raise click.ClickException(str(error)) from error


def _time_zone(_context: object, _parameter: object, name: str | None) -> str | None:
    if name is not None and name not in available_timezones():
        raise click.BadParameter(f"There is no time zone {name}, such as Europe/London.")
    return name


def _record(action: AuditAction, clinic: Clinic, detail: str) -> None:
    admin_services().auditor.record(db.session(), action, ACTOR, clinic_id=clinic.id, detail=detail)
    db.session.commit()


@clinics_commands.command("create")
@click.argument("name")
@click.option("--phone", required=True, help="The number that patients call.")
@click.option("--time-zone", default="Europe/London", show_default=True, callback=_time_zone)
@click.option("--address", help="Its part of addresses, /c/ADDRESS; made from the name if missing.")
def create_clinic(name: str, phone: str, time_zone: str, address: str | None) -> None:
    """Create a clinic. Its address stays, whatever its name becomes."""
    try:
        clinic = clinics.create(
            db.session(),
            name=name,
            phone=phone,
            time_zone=time_zone,
            slug=address if address is not None else clinics.slug_of(name),
        )
    except SlugError as error:
        raise click.ClickException(f"{error} Choose one with --address.") from error
    _record(AuditAction.CLINIC_CREATED, clinic, clinic.slug)
    click.echo(f"Clinic {name} has the id {clinic.id}. Its patients register at /c/{clinic.slug}.")


@clinics_commands.command("list")
def list_clinics() -> None:
    """List every clinic: address, name, phone, time zone."""
    for clinic in clinics.every(db.session()):
        closed = f"  closed {clinic.closed_at:%Y-%m-%d}" if clinic.closed_at else ""
        click.echo(
            f"{clinic.slug}  {clinic.name}  {clinic.phone}  {clinic.time_zone}  {clinic.id}{closed}"
        )


@clinics_commands.command("rename")
@click.argument("slug", metavar="ADDRESS")
@click.argument("name")
def rename_clinic(slug: str, name: str) -> None:
    """Give the clinic at ADDRESS a new name."""
    clinic = chosen_clinic(slug)
    clinic.name = name
    _record(AuditAction.CLINIC_CHANGED, clinic, "name")
    click.echo(f"The clinic at /c/{slug} is called {name} now.")


@clinics_commands.command("change")
@click.argument("slug", metavar="ADDRESS")
@click.option("--phone", help="The number that patients call.")
@click.option("--time-zone", callback=_time_zone)
def change_clinic(slug: str, phone: str | None, time_zone: str | None) -> None:
    """Change the phone number or the time zone of the clinic at ADDRESS."""
    wanted = {"phone": phone, "time_zone": time_zone}
    changed = {name: value for name, value in wanted.items() if value is not None}
    if not changed:
        raise click.UsageError("Say what to change: --phone or --time-zone.")
    clinic = chosen_clinic(slug)
    for name, value in changed.items():
        setattr(clinic, name, value)
    _record(AuditAction.CLINIC_CHANGED, clinic, ", ".join(changed))
    click.echo(f"{clinic.name}: {clinic.phone}, {clinic.time_zone}.")


@clinics_commands.command("close")
@click.argument("slug", metavar="ADDRESS")
@click.option("--yes", is_flag=True, help="Do not ask.")
def close_clinic(slug: str, *, yes: bool) -> None:
    """Close the clinic at ADDRESS: no new patients and no new cases.

    Open cases can still be read and signed, patients can still sign in, record systems can still
    fetch reports.
    """
    clinic = chosen_clinic(slug)
    if clinic.closed_at is not None:
        raise click.ClickException(f"{clinic.name} was closed on {clinic.closed_at:%Y-%m-%d}.")
    if not yes:
        click.confirm(f"Close {clinic.name}?", abort=True)
    clinics.close(db.session(), clinic)
    _record(AuditAction.CLINIC_CLOSED, clinic, clinic.slug)
    click.echo(f"{clinic.name} is closed.")
