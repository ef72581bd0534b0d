"""Gathers what a patient's record holds, as files; the photos alone are added by the browser."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from clinic.attachment import MediaType
from clinic.consent import Purpose
from clinic.fhir_checks import ensure_sound
from clinic.fhir_mapping import Export
from clinic.fhir_own_record import OwnCase, OwnConsent, OwnRecord, to_record_bundle
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.record_archive import ArchiveFile, csv_file, json_file
from clinic.records import (
    attachments,
    audit_log,
    consents,
    messages,
    report_versions,
    review,
    sealed_objects,
    submissions,
)
from clinic.records.db import database_now
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import CaseMessage, Consent, Patient, SignedReport, Submission
from clinic.report_html import to_html
from clinic.report_values import PatientValues, ReportValues
from clinic.submission import CaseState
from web.database import db
from web.guard import me
from web.portal import report_rows
from web.portal.access_log import AccessLine, access_lines
from web.portal.desk_colleagues import LOST
from web.portal.texts import CaseTexts, Identity, case_texts, open_each, open_texts, read_texts
from web.portal.wording import reference
from web.services import services

LONGEST_ACCESS_LOG = 100_000  # entries
ACCESS_COLUMNS = ("at", "who", "role", "action", "why", "allowed")

_TEXTS = (ObjectKind.HISTORY, ObjectKind.LETTER, ObjectKind.RETAKE, ObjectKind.GP_LETTER)

README = """Your record at {clinic}

This archive was made for you on {made_at}. It holds what {clinic} keeps about you.

record.fhir.json   Your record in the form that other clinics can read (FHIR R4).
account.json       Your account: email address, date of birth, record number.
letters/           The result of each case that a doctor signed, as a page to read, and the
                   letter for your GP. What a later version replaced has its number in its name.
files/             Files that the doctor added for you. {attachments}
history/           What you told us about each spot.
requests/          What a doctor wrote to you when asking for new photos.
messages/          What you and the doctors wrote to each other about each spot.
photos/            Your photos. {photos}
consents.json      What you agreed to, since when and until when.
access-log.csv     Who opened your record and why, as a table.
access-log.json    The same for programs.
manifest.json      A list of all files with a fingerprint (SHA-256) of each.

What doctors write to each other about a case is not in here. Ask us if you want it.
Keep this archive in a safe place: it is not encrypted.
"""
WITH_PHOTOS = (
    "They are the pictures that the doctor saw, or yours if none has been made yet. "
    "What you replaced with better ones is in the folder replaced."
)
WITH_ATTACHMENTS = "They are as the doctor added them."
WITHOUT_ATTACHMENTS = "They are not in this archive. You find them on the page of the case."
WITHOUT_PHOTOS = (
    "They are not in this archive: only your own browser can open them, and this archive was made "
    "by our server. Turn on JavaScript and download it again to have them."
)


@dataclass(frozen=True)
class OwnFilesOfCase:
    """A case, and the doctor's files beside it: each file's name in the archive by object id."""

    id: str
    attachments: dict[str, str]


@dataclass(frozen=True)
class OwnFiles:
    """The files without their readme, and the cases whose photos and files a browser may add."""

    files: tuple[ArchiveFile, ...]
    cases: tuple[OwnFilesOfCase, ...]
    clinic: str
    made_at: datetime

    def with_readme(self, *, photos: str, attachments: str) -> list[ArchiveFile]:
        made_at = f"{self.made_at:%Y-%m-%d %H:%M} UTC"
        text = README.format(
            clinic=self.clinic, made_at=made_at, photos=photos, attachments=attachments
        )
        return [ArchiveFile("README.txt", text.encode()), *self.files]


def gather(patient: Patient) -> OwnFiles:
    """Everything of the signed-in patient but the photos.

    Raises:
        KeeperUnavailableError, KeeperRefusedError: nothing is given out.

    """
    identity = _identity(patient)
    rows = submissions.of_patient(db.session(), patient.id)
    texts = {row.id: case_texts(row, _TEXTS) for row in rows}
    values = report_rows.patient(patient, identity, sex=_sex(texts))
    cases = [_own_case(row, texts[row.id], values) for row in rows]
    decisions = consents.history(db.session(), patient.id)
    record = OwnRecord(
        patient=values,
        organization=report_rows.organization(patient.clinic_id),
        cases=cases,
        consents=[_own_consent(one) for one in decisions],
        made_at=database_now(db.session()),
    )
    files = (
        *_files(record, patient, identity),
        *(file for row in rows for file in _earlier_letters(row, texts[row.id], values)),
        *_requests(texts),
        *_messages(rows),
    )
    own = tuple(OwnFilesOfCase(row.id, _attachments(row)) for row in rows)
    return OwnFiles(files, own, record.organization.name, record.made_at)


def _identity(patient: Patient) -> Identity:
    row = sealed_objects.identity_of(db.session(), patient.id)
    if row is None:
        raise LookupError("A patient has no identity.")
    wanted = NewKeyRequest(
        purpose=KeyPurpose.TEXT,
        object_ids=(row.id,),
        recipient_key=b"",
        login_session_id=me().login.id,
    )
    found = read_texts(open_texts([row], wanted)).identity
    if found is None:
        raise LookupError("A patient's identity is of another kind.")
    return found


def _sex(texts: dict[str, CaseTexts]) -> str:
    """As the newest history says it."""
    return next((str(one.history.sex) for one in texts.values() if one.history), "unknown")


def _own_case(row: Submission, texts: CaseTexts, patient: PatientValues) -> OwnCase:
    signed = submissions.signed_report(db.session(), row.id)
    report = _report(signed, texts, patient) if signed else None
    return OwnCase(row.id, row.received_at, texts.history, report)


def _report(row: SignedReport, texts: CaseTexts, patient: PatientValues) -> ReportValues:
    """As a record system gets it, less the note that is meant for colleagues alone."""
    photos = sealed_objects.of_submission(db.session(), row.submission_id, [ObjectKind.PHOTO])
    said = {"diagnosis_text": f"ICD-10-CM {row.icd10cm}"} if row.diagnosis == "other" else {}
    return report_rows.report(
        row,
        patient=patient,
        organization=report_rows.organization(row.clinic_id),
        photos=photos,
        result=review.result_of(db.session(), row.submission_id),
        finding=report_rows.finding(row, said, texts.letter),
    )


def _own_consent(row: Consent) -> OwnConsent:
    return OwnConsent(
        row.id,
        Purpose(row.purpose),
        row.permitted,
        row.recorded_at,
        row.valid_until,
        row.text_version,
    )


def _files(record: OwnRecord, patient: Patient, identity: Identity) -> Iterator[ArchiveFile]:
    export = Export(base_url=f"{services().public_url}/fhir/R4", snomed=services().snomed)
    bundle = to_record_bundle(record, export=export)
    ensure_sound(bundle)
    yield json_file("record.fhir.json", bundle)
    yield json_file("account.json", _account(patient, identity))
    for case in record.cases:
        if case.report is not None:
            yield ArchiveFile(f"letters/{reference(case.id)}.html", to_html(case.report))
        if case.history is not None:
            yield json_file(f"history/{reference(case.id)}.json", case.history.to_dict())
    yield json_file("consents.json", [_consent(one) for one in record.consents])
    log = _access_log(patient.id)
    yield json_file("access-log.json", log)
    yield csv_file("access-log.csv", log, ACCESS_COLUMNS)


def _earlier_letters(
    row: Submission, texts: CaseTexts, patient: PatientValues
) -> Iterator[ArchiveFile]:
    """What the patient was told before a later version took its place."""
    earlier = report_versions.versions(db.session(), row.id)[:-1]
    ids = [one for report in earlier for one in _letters_of(report)]
    letters = open_each(row, ids)
    for report in earlier:
        name = f"letters/{reference(row.id)}-version-{report.version}"
        shown = replace(texts, letter=letters.get(report.letter_object_id, LOST))
        yield ArchiveFile(f"{name}.html", to_html(_report(report, shown, patient)))
        if report.gp_letter_object_id:
            gp_letter = letters.get(report.gp_letter_object_id, LOST)
            yield ArchiveFile(f"{name}-gp.txt", gp_letter.encode())


def _letters_of(report: SignedReport) -> list[str]:
    both = (report.letter_object_id, report.gp_letter_object_id)
    return [one for one in both if one is not None]


def _attachments(row: Submission) -> dict[str, str]:
    """Those that are meant for the patient, once the case is signed."""
    if row.case_state != CaseState.SIGNED:
        return {}
    found = [one for one in attachments.of_case(db.session(), row.id) if one.for_patient]
    return {
        one.object_id: f"files/{reference(row.id)}/{place}-{one.kind.replace(' ', '-')}"
        f".{MediaType(one.media_type).extension}"
        for place, one in enumerate(found, start=1)
    }


def _requests(texts: dict[str, CaseTexts]) -> Iterator[ArchiveFile]:
    for case_id, one in texts.items():
        if one.gp_letter is not None:
            yield ArchiveFile(f"letters/{reference(case_id)}-gp.txt", one.gp_letter.encode())
        if one.retake is not None:
            yield ArchiveFile(f"requests/{reference(case_id)}.txt", one.retake.encode())


def _messages(rows: Sequence[Submission]) -> Iterator[ArchiveFile]:
    for row in rows:
        found = messages.of_case(db.session(), row.id)
        heads = {one.object_id: _head(one) for one in found}
        texts = open_each(row, list(heads))
        if heads:
            said = [f"{head}\n{texts.get(one, LOST)}" for one, head in heads.items()]
            yield ArchiveFile(f"messages/{reference(row.id)}.txt", "\n\n".join(said).encode())


def _head(one: CaseMessage) -> str:
    who = "you" if one.from_patient else "the clinic"
    return f"{one.sent_at:%Y-%m-%d %H:%M} UTC, {who}:"


def _account(patient: Patient, identity: Identity) -> dict[str, Any]:
    account = me().login.account
    email = services().account_secrets.unseal(
        account.email_sealed, account_id=account.id, column="email"
    )
    return {
        "record_number": patient.record_number,
        "email": email,
        "family_name": identity.family_name,
        "given_name": identity.given_name,
        "birth_date": identity.birth_date.isoformat(),
        "account_made_at": account.created_at.isoformat(),
    }


def _consent(one: OwnConsent) -> dict[str, Any]:
    return {
        "purpose": one.purpose,
        "meaning": one.purpose.label,
        "permitted": one.permitted,
        "valid_from": one.valid_from.isoformat(),
        "valid_until": one.valid_until.isoformat() if one.valid_until else None,
        "text_version": one.text_version,
    }


def _access_log(patient_id: str) -> list[dict[str, Any]]:
    found = audit_log.about_patient(db.session(), patient_id, limit=LONGEST_ACCESS_LOG)
    return [_line(one) for one in access_lines(found)]


def _line(one: AccessLine) -> dict[str, Any]:
    return asdict(one) | {"at": one.at.isoformat()}


def as_json(file: ArchiveFile) -> dict[str, Any]:
    """One file for the browser that adds the photos."""
    content = base64.b64encode(file.content).decode()
    return {"name": file.name, "content": content, "sha256": file.sha256}
