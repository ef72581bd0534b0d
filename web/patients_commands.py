"""`flask patients ...`: whose record is due, and erasing a record."""

from datetime import UTC, datetime

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError

from clinic.erasure_ledger import LedgerError
from clinic.records import erasure
from clinic.records.blobs import BlobStoreAwayError
from clinic.records.erasure import PatientSummary, erase_patient
from clinic.retention import PATIENT_RECORDS_YEARS
from web.services import erasure_services

ACTOR = "command line"

patients_commands = AppGroup("patients", help="Erasure and retention of patients' records.")


@patients_commands.command("erase")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(reference: str, *, yes: bool) -> None:
    """Erase the patient with this record number or id: keys, cases, photos, texts, account.

    It cannot be undone. Cut off, it is finished by running it again.
    """
    parts = erasure_services()
    with parts.sessions() as session:
        patient = erasure.find_patient(session, reference)
        erased_at = erasure.was_erased(session, reference)
    if patient is None:
        raise click.ClickException(
            f"This patient was erased on {erased_at:%Y-%m-%d}."
            if erased_at
            else f"There is no patient with the record number or id {reference}."
        )
    click.echo(_described(patient))
    if not yes:
        click.confirm("Erase everything? It cannot be undone", abort=True)
    try:
        erased = erase_patient(
            parts.sessions,
            parts.blobs,
            parts.ledger,
            parts.auditor,
            patient_id=patient.patient_id,
            actor=ACTOR,
        )
    except (LedgerError, OperationalError) as error:
        raise click.ClickException(f"Nothing was erased; run it again. {error}") from error
    except (BlobStoreAwayError, OSError) as error:
        raise click.ClickException(
            f"The patient is erased, but bodies are still in the photo store: {error}. They open "
            "no more, and retention deletes them within the hour."
        ) from error
    if erased is None:
        raise click.ClickException("Somebody else has just erased this patient.")
    click.echo(
        f"Erased patient {patient.patient_id}: {erased.cases} cases, {erased.keys} keys, "
        f"{len(erased.body_ids)} photos and pictures. Now run `flask backup`, so that they leave "
        "the backups too."
    )


@patients_commands.command("due")
def list_due() -> None:
    """List whose record is older than the period of clinic/retention.py. Nothing is erased."""
    now = datetime.now(UTC)
    since = now.replace(year=now.year - PATIENT_RECORDS_YEARS, day=min(now.day, 28))
    with erasure_services().sessions() as session:
        due = erasure.patients_without_contact(session, since=since)
    for patient in due:
        click.echo(_described(patient))
    click.echo(f"{len(due)} patients without contact since {since:%Y-%m-%d}.")


def _described(patient: PatientSummary) -> str:
    return (
        f"{patient.record_number} ({patient.patient_id}): {patient.cases} cases, "
        f"{patient.signed} signed reports, last contact {patient.last_contact:%Y-%m-%d}"
    )
