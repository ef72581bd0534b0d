"""`flask patients ...`: whose record is due, erasing a record, checking a certificate of that."""

from datetime import UTC, datetime
from pathlib import Path

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError

from clinic.due_time import years_after
from clinic.durable_files import write_durably
from clinic.erasure_certificate import CertificateError, read
from clinic.erasure_ledger import LedgerError
from clinic.installation_key import InstallationPublicKey
from clinic.records import erasure
from clinic.records.blobs import BlobStoreAwayError
from clinic.records.erasure import PatientSummary
from clinic.retention import PATIENT_RECORDS_YEARS
from web.services import erasure_services

ACTOR = "command line"

patients_commands = AppGroup("patients", help="Erasure and retention of patients' records.")


@patients_commands.command("erase")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the signed certificate to this new file.",
)
def erase(reference: str, *, yes: bool, certificate: Path | None) -> None:
    """Erase the patient with this record number or id: keys, cases, photos, texts, account.

    It cannot be undone. Cut off, it is finished by running it again.
    """
    eraser = erasure_services().eraser
    if certificate is not None and certificate.exists():
        raise click.ClickException(f"{certificate} exists. Nothing was erased; name a new file.")
    with eraser.sessions() as session:
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
        erased = eraser.erase(patient.patient_id, actor=ACTOR)
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
    if certificate is not None:
        _write_certificate(patient.patient_id, certificate)


def _write_certificate(patient_id: str, target: Path) -> None:
    with erasure_services().eraser.sessions() as session:
        text = erasure.certificate_of(session, patient_id)
    try:
        write_durably(target, (text or "").encode())
    except OSError as error:
        raise click.ClickException(
            f"The patient is erased, but {target} cannot be written: {error.strerror}. "
            "`flask patients certificate` writes it again."
        ) from error
    click.echo(f"The signed certificate is in {target}.")


@patients_commands.command("certificate")
@click.argument("patient_id")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def certificate(patient_id: str, target: Path) -> None:
    """Write the signed certificate of an erasure to a new file."""
    with erasure_services().eraser.sessions() as session:
        if erasure.certificate_of(session, patient_id) is None:
            raise click.ClickException(f"No patient with the id {patient_id} was erased here.")
    _write_certificate(patient_id, target)


@patients_commands.command("verify-certificate")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def verify_certificate(file: Path) -> None:
    """Check that this installation signed a certificate of erasure, and say what it says."""
    public = InstallationPublicKey.of(erasure_services().eraser.signer.public)
    try:
        said = read(file.read_text(encoding="utf-8"), public)
    except (CertificateError, UnicodeDecodeError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"The certificate {said.number} holds. Patient {said.patient_id} was erased on "
        f"{said.erased_at:%Y-%m-%d %H:%M} UTC: {said.cases} cases, {said.reports} reports, "
        f"{said.keys} keys, {said.pictures} photos and pictures. The last backup with the record "
        f"is deleted by {said.backups_until:%Y-%m-%d}."
    )


@patients_commands.command("due")
def list_due() -> None:
    """List whose record is older than the period of clinic/retention.py. Nothing is erased."""
    since = years_after(datetime.now(UTC), -PATIENT_RECORDS_YEARS)
    with erasure_services().eraser.sessions() as session:
        due = erasure.patients_without_contact(session, since=since)
    for patient in due:
        click.echo(_described(patient))
    click.echo(f"{len(due)} patients without contact since {since:%Y-%m-%d}.")


def _described(patient: PatientSummary) -> str:
    return (
        f"{patient.record_number} ({patient.patient_id}): {patient.cases} cases, "
        f"{patient.signed} signed reports, last contact {patient.last_contact:%Y-%m-%d}"
    )
