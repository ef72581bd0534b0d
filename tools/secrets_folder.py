"""The secret files of a production installation: keys, passwords, addresses, the broker's users.

`python -m tools.secrets_folder FOLDER --host derm.example` makes what docker-compose.yml mounts.
"""

import argparse
import hashlib
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clinic.key_files import KeyFilesExistError, create_key_files

TEMPLATE = Path(__file__).resolve().parent.parent / "deploy" / "valkey" / "users.acl.template"
BROKER_USERS = ("web", "relay", "beat", "keeper", "worker", "export")
DATABASE_HOST = "db:5432"
BROKER_HOST = "broker:6379"
TRIAL_DAYS = 30


def create_secrets(
    folder: Path,
    *,
    database_host: str = DATABASE_HOST,
    broker_host: str = BROKER_HOST,
    host: str | None = None,
) -> str:
    """Write every secret file; with `host` also a self-signed certificate for a trial.

    Returns the root's public key in base64.

    Raises:
        KeyFilesExistError: the folder is not empty. Nothing is ever overwritten.

    """
    public = create_key_files(folder)
    _write(folder / "db_password", owner := secrets.token_urlsafe(32))
    for name, role, password in (
        ("database_owner_url", "dermqueue", owner),
        ("database_url", "dermqueue_programs", secrets.token_urlsafe(32)),
    ):
        address = f"postgresql+psycopg://{role}:{password}@{database_host}/dermqueue"
        _write(folder / name, address)
    passwords = {user: secrets.token_urlsafe(32) for user in BROKER_USERS}
    for user, one in passwords.items():
        _write(folder / f"broker_url_{user}", f"redis://{user}:{one}@{broker_host}/0")
    digests = {user: hashlib.sha256(one.encode()).hexdigest() for user, one in passwords.items()}
    _write(folder / "broker_acl", TEMPLATE.read_text(encoding="utf-8").format(**digests))
    if host is not None:
        certificate, key = self_signed(host)
        _write(folder / "tls_certificate", certificate)
        _write(folder / "tls_key", key)
    return public


def self_signed(host: str) -> tuple[str, str]:
    """A certificate and its key (PEM) that no browser trusts: for a trial, not for patients."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=TRIAL_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.secrets_folder", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--host", help="also make a self-signed certificate for this name")
    options = parser.parse_args()
    try:
        public = create_secrets(options.folder, host=options.host)
    except KeyFilesExistError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"Secrets are in {options.folder}. Root public key: {public}\n"
        "Move root.key to a place offline: it only signs new epoch keys.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
