"""What tests of the portal share: filled forms, a browser's token, looks into the tables."""

import base64
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from clinic.attachment import AttachmentKind, MediaType
from clinic.audit_event import AuditAction
from clinic.envelope import Context, Sealed, seal
from clinic.intake import SevenPoint, Symptom
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, attachments, keys, sealed_objects
from clinic.records.attachments import NewAttachment
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    AuditEntry,
    Base,
    LoginSession,
    SealedObject,
    Submission,
)
from clinic.retention import ErasurePolicy
from config import Secret, Settings
from tests.browser_session import TOKEN
from tests.world import TOTP_SECRET, Person, World
from web.app import create_app
from web.services import Services

both_databases = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
    indirect=True,
)
JSON = {"Accept": "application/json"}

REGISTRATION = {
    "clinic": "clinic-1",
    "email": "ada@example.com",
    "password": "four words are better",
    "given_name": "Ada",
    "family_name": "Okafor",
    "birth_date-day": "27",
    "birth_date-month": "3",
    "birth_date-year": "1985",
    "consent_care": "y",
    "consent_teledermatology": "y",
    "consent_ai": "permit",
}
CASE = {
    "spot_count": "1",
    "can_be_photographed": "yes",
    "site": "back",
    "side": "left",
    "onset": "months",
    "sex": "female",
    "skin_type": "V",
    "own_skin_cancer": "no",
    "family_skin_cancer": "unknown",
    "immunosuppressed": "no",
    **{item.value: "no" for item in SevenPoint},
    **{sign.value: "no" for sign in Symptom},
}
FIRST_READ = {"impression": "nv", "confidence": "medium", "urgency": "routine"}
DECISION = {
    "diagnosis": "nv",
    "icd10_code": "D22.5",
    "confidence": "high",
    "image_quality": "good",
    "plan": "benign_advice",
    "agreement": "agree",
    "patient_text": "The doctor thinks this spot is harmless.",
}


def token_of(client: FlaskClient, path: str = "/sign-in") -> str:
    """The CSRF token that the form on this page carries."""
    found = TOKEN.search(client.get(path).text)
    assert found is not None, f"{path} carries no form"
    return found.group(1)


def send(client: FlaskClient, path: str, data: dict[str, Any], **kwargs: Any) -> TestResponse:
    """A form of somebody who is not signed in, or only by half."""
    page = kwargs.pop("page", path)
    return client.post(path, data={**data, "csrf_token": token_of(client, page)}, **kwargs)


def half_signed_in(app: Flask, world: World, person: Person) -> FlaskClient:
    """A browser that proved the password and nothing more."""
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, person.account_id)
        token = accounts.start_login(session, account, second_factor=False)
    client = app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"], cookie["_fresh"] = token, True
    return client


def without_second_factor(world: World, person: Person) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Account, person.account_id).totp_secret_sealed = None


def code_at(seconds: float, secret: str = TOTP_SECRET) -> str:
    return pyotp.TOTP(secret).at(int(seconds))


def sealed_photo(world: World, submission_id: str, photo: bytes, *, slot: int = 1) -> Sealed:
    """A photo as the browser seals it for a slot of the form (1 is the close-up)."""
    with world.sessions() as session:
        recipient = keys.sealing_recipient(session, world.root_public_key)
    context = Context(submission=submission_id, slot=slot, type="photo")
    return seal(photo, context=context, recipients=[recipient])


def as_file(data: bytes, name: str = "photo.jpg") -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), name


def viewer_key() -> tuple[X25519PrivateKey, dict[str, str]]:
    private = X25519PrivateKey.generate()
    raw = private.public_key().public_bytes_raw()
    return private, {"public_key": base64.b64encode(raw).decode()}


def ask_for_pictures(client: FlaskClient, token: str, case: str) -> TestResponse:
    _, body = viewer_key()
    headers = {"X-CSRFToken": token, **JSON}
    return client.post(f"/cases/{case}/grants", json=body, headers=headers)


def object_of(world: World, case: str, kind: ObjectKind) -> str:
    """The id of the case's object of this kind."""
    with world.sessions() as session:
        return sealed_objects.of_submission(session, case, [kind])[0].id


def attach(world: World, case: str, *, for_patient: bool = True, data: bytes = b"%PDF-1.7") -> str:
    """A file beside a case; the id of its object."""
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        new = NewAttachment(
            AttachmentKind.LEAFLET,
            MediaType.PDF,
            data,
            for_patient=for_patient,
            added_by=world.bob.account_id,
        )
        recipient = keys.sealing_recipient(session, world.root_public_key)
        added = attachments.add(session, world.blobs, row, new, recipient=recipient)
        return added.object_id


def row_of(world: World, case: str) -> Submission:
    with world.sessions() as session:
        return session.get_one(Submission, case)


def change_row(world: World, case: str, **values: Any) -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        for name, value in values.items():
            setattr(row, name, value)


def entries(world: World, action: AuditAction) -> list[AuditEntry]:
    with world.sessions() as session:
        query = select(AuditEntry).where(AuditEntry.action == action)
        return list(session.scalars(query.order_by(AuditEntry.sequence)))


def count(world: World, table: type) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def sealed_rows(world: World, case: str) -> list[SealedObject]:
    with world.sessions() as session:
        query = select(SealedObject).where(SealedObject.submission_id == case)
        return list(session.scalars(query.order_by(SealedObject.slot)))


def words(page: str) -> str:
    """A page's text as it is read, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def stored_bytes(folder: Any) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def table_bytes(world: World) -> bytes:
    """Every value of every row of every table."""
    with world.sessions() as session:
        rows = [
            row for table in Base.metadata.sorted_tables for row in session.execute(select(table))
        ]
    values = (value for row in rows for value in row)
    return b"|".join(one if isinstance(one, bytes) else str(one).encode() for one in values)


def another_app(world: World, database_url: str, folder: Path, **changed: Any) -> Flask:
    """A portal of its own over the world, with other settings; `is_demo` is one of them."""
    values: dict[str, Any] = {
        "environment": "demo" if changed.pop("is_demo", False) else "test",
        "database_url": database_url,
        "broker_url": None,
        "blob_dir": folder / "blobs",
        **dict.fromkeys(("blob_url", "blob_endpoint", "blob_access_key", "blob_secret_key")),
        "blob_region": "",
        "weights_dir": None,
        "public_url": "http://localhost",
        "trusted_proxies": 0,
        "cookie_key": Secret(b"c" * 32),
        **dict.fromkeys(("account_key", "audit_key", "enrolment_key", "master_key_file")),
        **dict.fromkeys(("erasure_ledger", "backup_dir", "backup_recipient", "escrow_recipients")),
        **dict.fromkeys(("installation_key", "audit_anchors", "programs_url")),
        "erasure": "decided",
        "backup_keep_days": 30,
        **dict.fromkeys(("root_public_key", "smtp_url", "mail_from")),
        "snomed": True,
        "upload_limit_mib": 60,
        "lease_seconds": 30,
        "ai_wait_minutes": 30,
        "metrics_bind": None,
        "internal_port": 9101,
        "device": "auto",
        "log_level": "INFO",
    }
    settings = Settings(**{**values, **changed})
    services = Services(
        sessions=world.sessions,
        blobs=world.blobs,
        hints=world.hints,
        auditor=world.auditor,
        account_secrets=world.secrets,
        passwords=world.passwords,
        root_public_key=world.root_public_key,
        enrolment_key=world.enrolment_key,
        weights_dir=settings.weights_dir,
        eraser=world.eraser,
        erasure_policy=ErasurePolicy(settings.erasure),
        is_demo=settings.is_demo,
        snomed=settings.snomed,
        public_url=settings.public_url,
        sends_mail=settings.mail_from is not None,
    )
    return create_app(settings, services)


def forget_proofs(world: World) -> None:
    """As if every proof of identity were sixteen minutes old."""
    with world.sessions() as session, session.begin():
        at = database_now(session) - timedelta(minutes=16)
        session.execute(update(LoginSession).values(stepped_up_at=at))
