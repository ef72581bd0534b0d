"""`flask audit ...`: checking the chain, against its anchors too, and exporting it as FHIR."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
from flask.cli import AppGroup

from clinic.audit_anchor import Anchor, AnchorError, AnchorFile
from clinic.audit_event import AuditAction
from clinic.fhir_audit_event import AuditSource, to_audit_event
from clinic.installation_key import InstallationPublicKey
from clinic.records import audit_log
from web.database import db
from web.services import admin_services, erasure_services

ACTOR = "command line"

audit_commands = AppGroup("audit", help="The audit chain.")


@audit_commands.command("verify")
@click.option(
    "--anchors",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The file of DERMQUEUE_AUDIT_ANCHORS, or a copy of it.",
)
def verify_audit(anchors: Path | None) -> None:
    """Check every link of the audit chain, and that it agrees with each anchor.

    Without the anchors nobody sees that the chain was set back together with its head.
    """
    given = _read(anchors) if anchors else []
    problem = audit_log.verify(db.session(), admin_services().auditor.key, given)
    if problem is not None:
        raise click.ClickException(problem)
    click.echo("The audit chain holds.")
    if anchors is not None:
        click.echo(f"It agrees with {len(given)} anchors.")


def _read(path: Path) -> list[Anchor]:
    public = InstallationPublicKey.of(erasure_services().eraser.signer.public)
    try:
        return AnchorFile(path).read(public)
    except AnchorError as error:
        raise click.ClickException(str(error)) from error


@audit_commands.command("export")
@click.option(
    "--fhir",
    "target",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The new file: one AuditEvent (IHE BALP) a line, NDJSON.",
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day on, UTC.")
@click.option("--server", default="https://derm.example/fhir/R4", help="The FHIR base it names.")
def export_audit(target: Path, since: datetime | None, server: str) -> None:
    """Write the audit entries as FHIR AuditEvents. It is an entry of the chain itself."""
    start = since.replace(tzinfo=UTC) if since else None
    source = AuditSource(base_url=server)
    count = 0
    try:
        with target.open("x", encoding="utf-8") as file:
            for sequence, event in audit_log.all_since(db.session(), start):
                file.write(json.dumps(to_audit_event(sequence, event, source=source)) + "\n")
                count += 1
    except FileExistsError as error:
        raise click.ClickException(f"{target} exists. Name a new file.") from error
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}.") from error
    detail = f"{count} entries as FHIR"
    admin_services().auditor.record(db.session(), AuditAction.AUDIT_EXPORTED, ACTOR, detail=detail)
    db.session.commit()
    click.echo(f"Wrote {count} AuditEvents to {target}.")
