"""The certificate of an erasure: what went, when, and until when backups hold it; signed.

It names nobody: opaque ids, counts and times. A person keeps it and can have it checked later.
"""

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from clinic.installation_key import InstallationKey, InstallationPublicKey, WrongSignatureError

USE = "erasure certificate"
FORM = "dermqueue/erasure-certificate/1"


class CertificateError(Exception):
    """Not a certificate of this installation; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ErasureCertificate:
    """`backups_until`: when the last backup that can hold the record is deleted by its age."""

    number: str
    patient_id: str
    clinic_id: str
    requested_at: datetime
    erased_at: datetime
    backups_until: datetime
    cases: int
    reports: int
    keys: int
    pictures: int


def issue(certificate: ErasureCertificate, key: InstallationKey) -> str:
    """The signed certificate as JSON text."""
    statement = {name: _out(value) for name, value in asdict(certificate).items()}
    document = {
        "form": FORM,
        "erased": statement,
        "public_key": key.public,
        "signature": key.sign(USE, _canonical(statement)),
    }
    return json.dumps(document, indent=2)


def read(text: str, key: InstallationPublicKey) -> ErasureCertificate:
    """The certificate, if it was signed with this installation's key.

    Raises:
        CertificateError: it is not whole, or not ours, or was changed.

    """
    try:
        document = json.loads(text)
        statement, signature = document["erased"], document["signature"]
        known = document["form"] == FORM
    except (ValueError, KeyError, TypeError) as error:
        raise CertificateError("This file is no certificate of erasure.") from error
    if not known:
        raise CertificateError(f"This is not a certificate of the form {FORM}.")
    try:
        key.check(USE, _canonical(statement), str(signature))
    except WrongSignatureError as error:
        raise CertificateError(
            "The signature does not hold: the certificate was changed, or another installation "
            "issued it."
        ) from error
    return _in(statement)


def _canonical(statement: dict[str, Any]) -> bytes:
    """The bytes that are signed: sorted names, no space."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def _out(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _in(statement: dict[str, Any]) -> ErasureCertificate:
    times = {one.name for one in fields(ErasureCertificate) if one.type is datetime}
    values: dict[str, Any] = {
        name: datetime.fromisoformat(value) if name in times else value
        for name, value in statement.items()
    }
    return ErasureCertificate(**values)
