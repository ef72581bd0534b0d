"""Each wrong setting is refused by its name; secrets never show."""

import base64
from pathlib import Path

import pytest

from config import (
    ADMIN,
    EVERY_PROGRAM,
    EXPORT,
    KEEPER,
    RELAY,
    SETTINGS,
    WEB,
    WORKER,
    Setting,
    Settings,
    SettingsError,
)

KEY = base64.b64encode(b"k" * 32).decode()
GOOD = {
    "DERMQUEUE_ENVIRONMENT": "production",
    "DERMQUEUE_DATABASE_URL": "postgresql+psycopg://dermqueue:hunter2@db/dermqueue",
    "DERMQUEUE_BROKER_URL": "redis://:hunter3@broker:6379/0",
    "DERMQUEUE_BLOB_DIR": "/srv/blobs",
    "DERMQUEUE_WEIGHTS_DIR": "/srv/weights",
    "DERMQUEUE_PUBLIC_URL": "https://derm.example.org/",
    "DERMQUEUE_COOKIE_KEY": KEY,
    "DERMQUEUE_ACCOUNT_KEY": KEY,
    "DERMQUEUE_AUDIT_KEY": KEY,
    "DERMQUEUE_INSTALLATION_KEY": KEY,
    "DERMQUEUE_AUDIT_ANCHORS": "/srv/anchors.jsonl",
    "DERMQUEUE_ENROLMENT_KEY": KEY,
    "DERMQUEUE_MASTER_KEY_FILE": "/srv/keys/master.key",
    "DERMQUEUE_ROOT_PUBLIC_KEY": base64.b64encode(b"p" * 32).decode(),
    "DERMQUEUE_SMTP_URL": "smtp://dermqueue:hunter2@mail.example:587",
    "DERMQUEUE_MAIL_FROM": "no-reply@derm.example",
    "DERMQUEUE_ERASURE_LEDGER": "/srv/erasures.jsonl",
    "DERMQUEUE_BACKUP_DIR": "/srv/backups",
    "DERMQUEUE_BACKUP_RECIPIENT": "age1qqqq",
}


def good(**changed: str | None) -> dict[str, str]:
    """The good settings with some changed, and those that are None left out."""
    names = {f"DERMQUEUE_{name.upper()}": value for name, value in changed.items()}
    return {name: value for name, value in {**GOOD, **names}.items() if value is not None}


@pytest.mark.parametrize("program", sorted(EVERY_PROGRAM))
def test_good_settings_start_every_program(program: str) -> None:
    settings = Settings.from_env(program, good())

    assert settings.is_production
    assert not settings.is_demo
    assert settings.public_url == "https://derm.example.org"
    assert settings.trusted_proxies == 0
    assert settings.blob_dir == Path("/srv/blobs")
    assert settings.cookie_key is not None
    assert settings.cookie_key.value == b"k" * 32


def test_the_master_key_stays_a_path_that_the_keeper_reads_itself() -> None:
    assert Settings.from_env(KEEPER, good()).master_key_file == Path("/srv/keys/master.key")


def test_two_people_are_named_for_emergencies() -> None:
    settings = Settings.from_env(KEEPER, good(escrow_recipients="age1first, age1second"))
    assert settings.escrow_recipients == ("age1first", "age1second")
    assert Settings.from_env(KEEPER, good()).escrow_recipients is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environment", "staging"),
        ("database_url", "mysql://db/dermqueue"),
        ("database_url", "postgresql://db/dermqueue"),
        ("broker_url", "amqp://broker"),
        ("public_url", "ftp://derm.example.org"),
        ("public_url", "https://"),
        ("trusted_proxies", "-1"),
        ("trusted_proxies", "one"),
        ("cookie_key", "not base64!"),
        ("cookie_key", base64.b64encode(b"short").decode()),
        ("account_key", "Schlüssel"),
        ("audit_key", "abc"),
        ("enrolment_key", base64.b64encode(b"k" * 31).decode()),
        ("root_public_key", base64.b64encode(b"k" * 33).decode()),
        ("smtp_url", "mail.example"),
        ("smtp_url", "http://mail.example"),
        ("mail_from", "derm.example"),
        ("mail_from", "a b@derm.example"),
        ("mail_from", "a@b.example\nBcc: c@d.example"),
        ("snomed", "yes"),
        ("erasure", "never"),
        ("programs_url", "sqlite://"),
        ("installation_key", "abc"),
        ("upload_limit_mib", "0"),
        ("upload_limit_mib", "-5"),
        ("lease_seconds", "soon"),
        ("lease_seconds", "²"),
        ("lease_seconds", "1201"),
        ("ai_wait_minutes", "1.5"),
        ("backup_recipient", "AGE-SECRET-KEY-1"),
        ("backup_keep_days", "0"),
        ("escrow_recipients", "age1first"),
        ("escrow_recipients", "age1first,"),
        ("escrow_recipients", "age1first,age1second,age1third"),
        ("escrow_recipients", "AGE-SECRET-KEY-1,age1second"),
        ("metrics_bind", "9100"),
        ("metrics_bind", "127.0.0.1:none"),
        ("metrics_bind", "127.0.0.1:70000"),
        ("internal_port", "web"),
        ("log_level", "LOUD"),
        ("blob_url", "photos"),
        ("blob_url", "https://objects.example/photos"),
        ("blob_url", "s3:///no-bucket"),
        ("blob_url", "s3://name:word@photos"),
        ("blob_endpoint", "objects.example"),
        ("blob_endpoint", "https://name:word@objects.example"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(WEB, good(**{name: value}))

    assert str(refused.value).startswith(f"DERMQUEUE_{name.upper()} ")


@pytest.mark.parametrize("one", SETTINGS, ids=lambda one: one.field)
def test_a_missing_setting_is_named_to_the_programs_that_need_it(one: Setting) -> None:
    name = one.name
    needed_by = one.needed_by if one.default is None else frozenset()
    without = {key: value for key, value in good(environment="demo").items() if key != name}

    for program in EVERY_PROGRAM:
        if program in needed_by:
            with pytest.raises(SettingsError, match=f"{name} is not set, and the {program}"):
                Settings.from_env(program, without)
        else:
            Settings.from_env(program, without)


def test_an_empty_value_counts_as_missing() -> None:
    with pytest.raises(SettingsError, match="DERMQUEUE_AUDIT_KEY is not set"):
        Settings.from_env(KEEPER, good(audit_key=""))


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cookie key"
    path.write_text(base64.b64encode(b"f" * 32).decode() + "\n", encoding="utf-8")

    settings = Settings.from_env(WEB, good(cookie_key=None, cookie_key_file=str(path)))

    assert settings.cookie_key is not None
    assert settings.cookie_key.value == b"f" * 32


def test_the_file_wins_over_the_plain_value(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("postgresql+psycopg://from-the-file/x", encoding="utf-8")
    found = Settings.from_env(ADMIN, good(database_url_file=str(path)))
    assert found.database_url == "postgresql+psycopg://from-the-file/x"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["missing", "not text"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "audit.key"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"DERMQUEUE_AUDIT_KEY_FILE names .*audit\.key"):
        Settings.from_env(WEB, good(audit_key=None, audit_key_file=str(path)))


@pytest.mark.parametrize(
    ("program", "changed", "words"),
    [
        (WEB, {"public_url": "http://derm.example.org"}, "PUBLIC_URL must be https"),
        (WEB, {"public_url": None}, "PUBLIC_URL must be https"),
        (WEB, {"database_url": "sqlite:////srv/x.db"}, "DATABASE_URL must be PostgreSQL"),
        (ADMIN, {"database_url": "sqlite:////srv/x.db"}, "DATABASE_URL must be PostgreSQL"),
        (WORKER, {"broker_url": "redis://broker:6379/0"}, "BROKER_URL has no password"),
        (RELAY, {"broker_url": "rediss://user@broker:6379/0"}, "BROKER_URL has no password"),
    ],
)
def test_production_refuses_what_is_unsafe(
    program: str, changed: dict[str, str | None], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_env(program, good(**changed))

    Settings.from_env(program, good(environment="demo", **changed))


IN_A_BUCKET: dict[str, str | None] = {
    "blob_dir": None,
    "blob_url": "s3://photos/clinic",
    "blob_endpoint": "https://objects.example/",
    "blob_access_key": "hunter4",
    "blob_secret_key": "hunter5",
}


@pytest.mark.parametrize("program", [WEB, WORKER, EXPORT])
def test_a_bucket_stands_in_for_the_folder_of_photos(program: str) -> None:
    settings = Settings.from_env(program, good(**IN_A_BUCKET))

    assert settings.blob_dir is None
    assert settings.blob_url == "s3://photos/clinic"
    assert settings.blob_endpoint == "https://objects.example"
    assert settings.blob_region == "us-east-1"
    assert settings.blob_secret_key is not None
    assert settings.blob_secret_key.value == b"hunter5"
    assert "hunter" not in repr(settings)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"blob_dir": "/srv/blobs"}, "not both"),
        ({"blob_access_key": None}, "BLOB_ACCESS_KEY and"),
        ({"blob_secret_key": None}, "BLOB_SECRET_KEY; give"),
        ({"blob_endpoint": "http://objects.example"}, "BLOB_ENDPOINT must be https"),
    ],
)
def test_a_bucket_without_all_that_it_needs_is_refused(
    changed: dict[str, str | None], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_env(WEB, good(**{**IN_A_BUCKET, **changed}))


def test_a_broker_behind_a_unix_socket_needs_no_password() -> None:
    Settings.from_env(WORKER, good(broker_url="redis+socket:///run/valkey.sock"))


def test_secrets_never_show() -> None:
    settings = Settings.from_env(WEB, good())

    for text in (repr(settings), str(settings), repr(settings.cookie_key)):
        assert "kkkk" not in text
        assert KEY not in text
        assert "hunter" not in text


def test_a_refusal_never_quotes_the_value() -> None:
    for name in ("cookie_key", "database_url", "broker_url"):
        with pytest.raises(SettingsError) as refused:
            Settings.from_env(WEB, good(**{name: "hunter2"}))
        assert "hunter2" not in str(refused.value)


def test_the_process_environment_is_the_default_source(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in good(lease_seconds="7").items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env(WORKER).lease_seconds == 7
