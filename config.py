"""The settings of every program: read once from the environment, checked, then passed in.

A value comes from `X`, or from the file that `X_FILE` names (for secrets). A missing or unsafe
value stops the program with a sentence that names the setting.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

WEB = "web"
WORKER = "worker"
KEEPER = "keeper"
RELAY = "relay"
RECONCILER = "reconciler"
BEAT = "beat"
METRICS = "metrics"
ADMIN = "admin"
EXPORT = "export"
BACKUP = "backup"
MIGRATE = "migrate"
EVERY_PROGRAM = frozenset(
    {WEB, WORKER, KEEPER, RELAY, RECONCILER, BEAT, METRICS, ADMIN, EXPORT, BACKUP, MIGRATE}
)

T = TypeVar("T")
LONGEST_LEASE_SECONDS = 1200  # well below screening_queue.LONGEST_AHEAD
ENVIRONMENTS = ("production", "demo", "test")


class SettingsError(Exception):
    """A setting is missing or unsafe; the message names it and says what to do."""


@dataclass(frozen=True)
class Secret:
    """Secret bytes that never show in a log or a traceback."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that may differ between installations. `.env.example` explains each name.

    A program gets no more than it needs; a value that it does not need may be None.
    """

    environment: str
    database_url: str | None = field(repr=False)  # these addresses carry a password
    programs_url: str | None = field(repr=False)
    broker_url: str | None = field(repr=False)
    blob_dir: Path | None
    blob_url: str | None
    blob_endpoint: str | None
    blob_region: str
    blob_access_key: Secret | None
    blob_secret_key: Secret | None
    weights_dir: Path | None
    public_url: str
    cookie_key: Secret | None
    account_key: Secret | None
    audit_key: Secret | None
    installation_key: Secret | None
    audit_anchors: Path | None
    enrolment_key: Secret | None
    master_key_file: Path | None
    escrow_recipients: tuple[str, str] | None
    root_public_key: bytes | None
    snomed: bool
    upload_limit_mib: int
    lease_seconds: int
    ai_wait_minutes: int
    erasure: Literal["at_once", "decided"]
    erasure_ledger: Path | None
    backup_dir: Path | None
    backup_recipient: str | None
    backup_keep_days: int
    metrics_bind: tuple[str, int] | None
    internal_port: int
    device: Literal["auto", "cpu", "cuda"]
    log_level: str

    @property
    def is_demo(self) -> bool:
        return self.environment == "demo"

    @property
    def is_production(self) -> bool:
        return self.environment == "production"

    @classmethod
    def from_env(cls, program: str, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read and check the settings that `program` needs.

        Raises:
            SettingsError: a setting is missing, malformed or unsafe for production.

        """
        source = os.environ if environ is None else environ
        values = {one.field: _read(one, source) for one in SETTINGS}
        _refuse_missing(values, program)
        settings = cls(**values)
        _refuse_unclear_store(settings)
        _refuse_unsafe(settings, program)
        return settings


@dataclass(frozen=True)
class Setting:
    """One setting: its field in `Settings`, who needs it, and how its text is read."""

    field: str
    parse: Callable[[str], Any]
    needed_by: frozenset[str] = frozenset()
    default: str | None = None
    unless: str | None = None  # the field that may stand in for this one

    @property
    def name(self) -> str:
        return "DERMQUEUE_" + self.field.upper()


def _environment(text: str) -> str:
    if text not in ENVIRONMENTS:
        raise ValueError("must be one of " + ", ".join(ENVIRONMENTS))
    return text


def _database_url(text: str) -> str:
    if not text.startswith(("postgresql+psycopg://", "sqlite:///")):
        raise ValueError("must start with postgresql+psycopg:// or sqlite:///")
    return text


def _broker_url(text: str) -> str:
    if urlsplit(text).scheme not in {"redis", "rediss", "redis+socket"}:
        raise ValueError("must be a redis://, rediss:// or redis+socket:// address")
    return text


def _public_url(text: str) -> str:
    if urlsplit(text).scheme not in {"http", "https"}:
        raise ValueError("must be an http:// or https:// address")
    return text.rstrip("/")


def _bucket_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise ValueError("must be s3://bucket or s3://bucket/prefix, without keys")
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be an http:// or https:// address, without keys")
    return text.rstrip("/")


def _secret_text(text: str) -> Secret:
    return Secret(text.encode())


def _key(text: str) -> Secret:
    raw = _base64(text)
    if len(raw) < 32:
        raise ValueError(
            "must be at least 32 bytes in base64; make one with `python -m web.cli FOLDER`"
        )
    return Secret(raw)


def _public_key(text: str) -> bytes:
    raw = _base64(text)
    if len(raw) != 32:
        raise ValueError("must be a 32-byte Ed25519 public key in base64")
    return raw


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError("must be on or off")
    return text == "on"


def _lease(text: str) -> int:
    seconds = _positive(text)
    if seconds > LONGEST_LEASE_SECONDS:
        raise ValueError(f"must be at most {LONGEST_LEASE_SECONDS}")
    return seconds


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("must be a whole number above 0")
    return int(text)


def _recipient(text: str) -> str:
    if not text.startswith("age1"):
        raise ValueError("must be a public key of age (age1...); `flask backup new-keys` makes one")
    return text


def _two_recipients(text: str) -> tuple[str, str]:
    first, _, second = (one.strip() for one in text.partition(","))
    if not first.startswith("age1") or not second.startswith("age1") or "," in second:
        raise ValueError("must be two public keys of age (age1...,age1...), one of each person")
    return first, second


def _bind(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("must be an address and a port, for instance 127.0.0.1:9100")
    return host, int(port)


def _device(text: str) -> str:
    if text not in {"auto", "cpu", "cuda"}:
        raise ValueError("must be auto, cpu or cuda")
    return text


def _erasure(text: str) -> str:
    if text not in {"at_once", "decided"}:
        raise ValueError("must be at_once or decided")
    return text


def _log_level(text: str) -> str:
    if text not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return text


_SENDS_OR_TAKES_HINTS = frozenset({WEB, WORKER, KEEPER, RELAY, BEAT, EXPORT})
_WRITES_AUDIT = frozenset({WEB, WORKER, KEEPER, RECONCILER, ADMIN, EXPORT, BACKUP})
_SIGNS = frozenset({WEB, ADMIN, RECONCILER})
_HAS_PHOTO_STORE = frozenset({WEB, WORKER, ADMIN, EXPORT, BACKUP})
_LOGS = frozenset({WEB, WORKER, KEEPER, RELAY, RECONCILER, BEAT, METRICS})

SETTINGS: tuple[Setting, ...] = (
    Setting("environment", _environment, EVERY_PROGRAM),
    Setting("database_url", _database_url, EVERY_PROGRAM - {BEAT}),
    Setting("programs_url", _database_url),
    Setting("broker_url", _broker_url, _SENDS_OR_TAKES_HINTS),
    Setting("blob_dir", Path, _HAS_PHOTO_STORE, unless="blob_url"),
    Setting("blob_url", _bucket_url),
    Setting("blob_endpoint", _http_url),
    Setting("blob_region", str, default="us-east-1"),
    Setting("blob_access_key", _secret_text),
    Setting("blob_secret_key", _secret_text),
    Setting("weights_dir", Path, frozenset({WORKER})),
    Setting("public_url", _public_url, frozenset({WEB}), "http://127.0.0.1:8000"),
    Setting("cookie_key", _key, frozenset({WEB})),
    Setting("account_key", _key, frozenset({WEB, ADMIN, EXPORT})),
    Setting("audit_key", _key, _WRITES_AUDIT),
    Setting("installation_key", _key, _SIGNS),
    Setting("audit_anchors", Path, frozenset({RECONCILER})),
    Setting("enrolment_key", _key, frozenset({WEB, WORKER, KEEPER, EXPORT})),
    Setting("master_key_file", Path, frozenset({KEEPER})),
    Setting("escrow_recipients", _two_recipients),
    Setting("root_public_key", _public_key, frozenset({WEB, WORKER})),
    Setting("snomed", _switch, frozenset({WEB}), "on"),
    Setting("upload_limit_mib", _positive, frozenset({WEB}), "60"),
    Setting("lease_seconds", _lease, frozenset({WORKER}), "120"),
    Setting("ai_wait_minutes", _positive, frozenset({RECONCILER}), "30"),
    Setting("erasure", _erasure, frozenset({WEB}), "decided"),
    Setting("erasure_ledger", Path, frozenset({WEB, ADMIN, BACKUP})),
    Setting("backup_dir", Path, frozenset({BACKUP})),
    Setting("backup_recipient", _recipient, frozenset({BACKUP})),
    Setting("backup_keep_days", _positive, frozenset({WEB, ADMIN, BACKUP}), "30"),
    Setting("metrics_bind", _bind, frozenset({METRICS}), "127.0.0.1:9100"),
    Setting("internal_port", _positive, frozenset({WEB}), "9101"),
    Setting("device", _device, frozenset({WORKER}), "auto"),
    Setting("log_level", _log_level, _LOGS, "INFO"),
)


def needed(value: T | None) -> T:
    """A value that `from_env` has checked to be there for this program."""
    if value is None:
        raise LookupError("A setting is missing that this program needs.")
    return value


def _read(one: Setting, environ: Mapping[str, str]) -> Any:
    text = _text(one, environ)
    if not text:
        return None
    try:
        return one.parse(text)
    except ValueError as error:
        raise SettingsError(f"{one.name} {error}.") from error


def _refuse_missing(values: Mapping[str, Any], program: str) -> None:
    for one in SETTINGS:
        given = values[one.field] is not None or (one.unless and values[one.unless] is not None)
        if program in one.needed_by and not given:
            raise SettingsError(
                f"{one.name} is not set, and the {program} program needs it. "
                f"Set {one.name} or {one.name}_FILE; .env.example explains it."
            )


def _refuse_unclear_store(settings: Settings) -> None:
    if settings.blob_url is None:
        return
    if settings.blob_dir is not None:
        raise SettingsError("Set DERMQUEUE_BLOB_DIR or DERMQUEUE_BLOB_URL, not both.")
    if settings.blob_access_key is None or settings.blob_secret_key is None:
        raise SettingsError(
            "DERMQUEUE_BLOB_URL needs DERMQUEUE_BLOB_ACCESS_KEY and DERMQUEUE_BLOB_SECRET_KEY; "
            "give both as files."
        )


def _text(one: Setting, environ: Mapping[str, str]) -> str | None:
    path = environ.get(one.name + "_FILE")
    if not path:
        return environ.get(one.name) or one.default
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"{one.name}_FILE names {path}, which cannot be read: {reason}."
        ) from error


def _refuse_unsafe(settings: Settings, program: str) -> None:
    if not settings.is_production:
        return
    if program == WEB and not settings.public_url.startswith("https://"):
        raise SettingsError("DERMQUEUE_PUBLIC_URL must be https:// in production.")
    if (settings.database_url or "").startswith("sqlite"):
        raise SettingsError("DERMQUEUE_DATABASE_URL must be PostgreSQL in production, not SQLite.")
    if (settings.blob_endpoint or "").startswith("http://"):
        raise SettingsError("DERMQUEUE_BLOB_ENDPOINT must be https:// in production.")
    broker = urlsplit(settings.broker_url or "")
    if broker.scheme in {"redis", "rediss"} and not broker.password:
        raise SettingsError("DERMQUEUE_BROKER_URL has no password; production needs one.")
