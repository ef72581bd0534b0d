"""The portal's factory: joins the parts and registers the blueprints."""

from datetime import timedelta
from functools import partial

from flask import Flask
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from clinic.account_secrets import AccountSecrets
from clinic.erasure_ledger import ErasureLedger
from clinic.escrow import Escrow, EscrowError
from clinic.hints import CeleryHints
from clinic.installation_key import InstallationKey
from clinic.json_log import start_logging
from clinic.passwords import Passwords
from clinic.records.audit_log import Auditor
from clinic.records.backup import Backup, BackupFolder
from clinic.records.blob_choice import open_blob_store
from clinic.records.db import SessionFactory, every_clinic_sessions, make_engine
from clinic.records.erasure import Eraser
from clinic.records.restore import Restore
from clinic.records.table_dump import snapshot
from clinic.retention import ErasurePolicy
from config import ADMIN, BACKUP, EXPORT, MIGRATE, WEB, Secret, Settings, SettingsError, needed
from web.backup_commands import backup_commands, restore_keys, restore_records
from web.cli import register_commands
from web.csp_reports import csp_reports
from web.database import db, init_database
from web.errors import init_error_pages
from web.fhir_adapter import fhir_blueprint
from web.guard import init_guard
from web.health import health
from web.keys_commands import keys_commands
from web.local_clinic import init_local_time
from web.patients_commands import patients_commands
from web.plain_text import init_plain_text
from web.portal import portal
from web.rate_limits import init_rate_limits
from web.refusals import init_refusals
from web.request import MemoryRequest, ShallowJson
from web.request_log import init_request_log
from web.schema import SCHEMA, newest_revision
from web.script_bundle import init_script_bundle
from web.security_headers import init_security_headers
from web.services import (
    EXTENSION,
    BackupServices,
    ErasureServices,
    ExportServices,
    Services,
)
from web.training_set import training_set_commands
from web.trusted_host import init_trusted_host

MIB = 1024 * 1024


def create_app_from_env() -> Flask:
    settings = Settings.from_env(WEB)
    start_logging(WEB, settings.log_level)
    return create_app(settings)


def create_admin_app() -> Flask:
    """The engineer's commands (`flask --app web.app:create_admin_app`), without a single page.

    They run with the secrets that they use; cookies, enrolment and the broker are not theirs.
    """
    settings = Settings.from_env(ADMIN)
    app = _with_database(settings)
    with app.app_context():
        sessions = every_clinic_sessions(db.engine)
    app.extensions[EXTENSION] = ErasureServices(
        auditor=Auditor(_secret(settings.audit_key)),
        account_secrets=AccountSecrets(_secret(settings.account_key)),
        public_url=settings.public_url,
        sessions=sessions,
        blobs=open_blob_store(settings),
        eraser=_eraser(settings, sessions),
        escrow=_escrow(settings),
    )
    register_commands(app)
    app.cli.add_command(keys_commands)
    app.cli.add_command(patients_commands)
    return app


def create_backup_app() -> Flask:
    """`flask --app web.app:create_backup_app backup` and `restore`, with no other command.

    It holds no key that opens a photo, a text or an older backup.
    """
    settings = Settings.from_env(BACKUP)
    app = Flask(__name__, static_folder=None)
    database_url = needed(settings.database_url)
    engine = make_engine(database_url)
    blobs, ledger = open_blob_store(settings), _ledger(settings)
    auditor = Auditor(_secret(settings.audit_key))
    folder = BackupFolder(needed(settings.backup_dir), auditor.key)
    backup = Backup(
        sessions=every_clinic_sessions(engine),
        snapshot=partial(snapshot, database_url),
        revision_of=newest_revision,
        blobs=blobs,
        ledger=ledger,
        auditor=auditor,
        target=folder,
        recipient=needed(settings.backup_recipient),
        keep=timedelta(days=settings.backup_keep_days),
    )
    restore = Restore(engine, blobs, ledger, auditor, folder, SCHEMA)
    app.extensions[EXTENSION] = BackupServices(backup, restore)
    for one in (backup_commands, restore_records, restore_keys):
        app.cli.add_command(one)
    return app


def create_export_app() -> Flask:
    """`flask --app web.app:create_export_app training-set export`, with no other command.

    It alone of the engineer's commands opens photos, so the secrets for that are its own.
    """
    settings = Settings.from_env(EXPORT)
    app = Flask(__name__, static_folder=None)
    app.extensions[EXTENSION] = ExportServices(
        auditor=Auditor(_secret(settings.audit_key)),
        account_secrets=AccountSecrets(_secret(settings.account_key)),
        passwords=Passwords.standard(),
        sessions=every_clinic_sessions(make_engine(needed(settings.database_url))),
        blobs=open_blob_store(settings),
        hints=CeleryHints(needed(settings.broker_url)),
        enrolment_key=_secret(settings.enrolment_key),
    )
    app.cli.add_command(training_set_commands)
    return app


def create_migration_app() -> Flask:
    """`flask --app web.app:create_migration_app db upgrade`: needs the database's address alone."""
    return _with_database(Settings.from_env(MIGRATE))


def _with_database(settings: Settings) -> Flask:
    app = Flask(__name__, static_folder=None)
    init_database(app, needed(settings.database_url))
    return app


def create_app(settings: Settings, services: Services | None = None) -> Flask:
    """The portal. Tests may pass parts of their own; everything else comes from the settings."""
    app = Flask(__name__, static_folder="portal/static", template_folder="portal/templates")
    app.request_class, app.json = MemoryRequest, ShallowJson(app)
    proxies = settings.trusted_proxies
    if proxies:  # each adds the address that it saw; the nearest one says how it was asked
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=1)  # type: ignore[method-assign]
    https = settings.public_url.startswith("https://")
    app.config.update(
        INTERNAL_PORT=settings.internal_port,
        SECRET_KEY=_secret(settings.cookie_key),
        MAX_CONTENT_LENGTH=settings.upload_limit_mib * MIB,
        MAX_FORM_PARTS=100,
        SESSION_COOKIE_NAME="__Host-dermqueue" if https else "dermqueue",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,
        # Pages send no referrer, so it cannot be asked for: web.guard looks at Fetch Metadata.
        WTF_CSRF_SSL_STRICT=False,
    )
    init_database(app, needed(settings.database_url))
    with app.app_context():
        app.extensions[EXTENSION] = services or _services(settings)
    init_request_log(app, behind_proxy=bool(proxies))
    init_trusted_host(app, public_url=settings.public_url)
    init_plain_text(app)
    # Limits first, so that a request counts whatever is wrong with it.
    init_rate_limits(app, settings.broker_url or "memory://")
    CSRFProtect(app)
    init_security_headers(app, https=https)
    init_script_bundle(app, app.extensions[EXTENSION].root_public_key)
    init_guard(app)
    init_refusals(app)
    init_local_time(app)
    init_error_pages(app)
    without_forms = (csp_reports, fhir_blueprint(app))  # neither is sent by a page of ours
    for blueprint in without_forms:
        app.extensions["csrf"].exempt(blueprint)
    for blueprint in (portal, health, *without_forms):
        app.register_blueprint(blueprint)
    register_commands(app)
    app.cli.add_command(keys_commands)
    return app


def _services(settings: Settings) -> Services:
    sessions = every_clinic_sessions(db.engine)
    return Services(
        sessions=sessions,
        blobs=open_blob_store(settings),
        hints=CeleryHints(settings.broker_url or ""),
        auditor=Auditor(_secret(settings.audit_key)),
        account_secrets=AccountSecrets(_secret(settings.account_key)),
        passwords=Passwords.standard(),
        root_public_key=settings.root_public_key or b"",
        enrolment_key=_secret(settings.enrolment_key),
        weights_dir=settings.weights_dir,
        eraser=_eraser(settings, sessions),
        erasure_policy=ErasurePolicy(settings.erasure),
        is_demo=settings.is_demo,
        snomed=settings.snomed,
        public_url=settings.public_url,
        sends_mail=settings.mail_from is not None,
        escrow=_escrow(settings),
    )


def _eraser(settings: Settings, sessions: SessionFactory) -> Eraser:
    return Eraser(
        sessions,
        open_blob_store(settings),
        _ledger(settings),
        Auditor(_secret(settings.audit_key)),
        InstallationKey(_secret(settings.installation_key)),
        timedelta(days=settings.backup_keep_days),
    )


def _escrow(settings: Settings) -> Escrow | None:
    try:
        return Escrow(settings.escrow_recipients) if settings.escrow_recipients else None
    except EscrowError as error:
        raise SettingsError(f"DERMQUEUE_ESCROW_RECIPIENTS cannot be used: {error}") from error


def _ledger(settings: Settings) -> ErasureLedger:
    return ErasureLedger(needed(settings.erasure_ledger), _secret(settings.audit_key))


def _secret(secret: Secret | None) -> bytes:
    return secret.value if secret else b""
