"""Cases by the million for the benchmarks of pages: rows made by PostgreSQL itself.

Most cases are signed and years old; a page never opens their texts. The cases that pages do open
are few and real (tools/bench_cases.py).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from clinic.access import Role
from clinic.records import accounts
from clinic.records.db import database_now
from clinic.records.models import Account, Patient
from tools import installation as setup
from tools.bench_cases import CaseMaker
from tools.installation import Installation

CASES_OF_PATIENT: Final = 5
DAYS: Final = 1000  # how long ago the oldest case was sent
CLAIMED, RECENT, OLD = 20, 45, 25
SEARCHED_PATIENT_CASES: Final = 3
OLD_AGE: Final = timedelta(days=700)
_MOMENT: Final = timedelta(milliseconds=1)

# What a row of the bulk holds in place of a sealed header and body: the same number of bytes.
_HEADER_SIZE, _BODY_SIZE = 460, 200

_PATIENTS = """
INSERT INTO patient (id, clinic_id, record_number, created_at)
SELECT md5('patient' || n), :clinic, 'DQ-' || n, now() - interval '1000 days'
FROM generate_series(1, :patients) AS n
"""

_CASES = """
INSERT INTO submission (id, patient_id, clinic_id, body_site, body_side, ai_permitted, received_at,
  due_at, queued_at, case_state, urgency, claimed_by, claim_until, screening_state, attempt,
  not_before)
SELECT md5('case' || n), md5('patient' || 1 + n / :share), :clinic, 'back', 'left', true, at,
  at + interval '5 days', at, CASE WHEN open THEN 'awaiting_review' ELSE 'signed' END, n % 3,
  CASE WHEN open THEN NULL ELSE :reader END,
  CASE WHEN open THEN NULL ELSE at + interval '1 day' END, 'done', 1, at
FROM (
  SELECT n, n <= :open AS open, now() - CASE WHEN n <= :open
    THEN n * interval '9 days' / :open
    ELSE interval '10 days' + (n - :open) * (:days * interval '1 day') / :cases END AS at
  FROM generate_series(1, :cases) AS n
) AS every
"""

_RESULTS = """
INSERT INTO screening_result (submission_id, clinic_id, ai_used, quality_flags, urgency, reasons,
  rule_reasons, stage_seconds, finished_at)
SELECT id, clinic_id, false, '[]', urgency, '["a reason"]', '["a reason"]', '{}', received_at
FROM submission
"""

_TEXTS = """
INSERT INTO sealed_object (id, patient_id, submission_id, kind, slot, header, body, body_size,
  core_sha256, body_sha256, sealed_by, settled, current, created_at)
SELECT md5(kind || id), patient_id, id, kind, 0, repeat('h', :header),
  decode(repeat('00', :body), 'hex'), :body, repeat('0', 64), repeat('0', 64), 'server', true, true,
  received_at
FROM submission CROSS JOIN (VALUES ('finding'), ('letter')) AS texts (kind)
WHERE case_state = 'signed'
"""

_REPORTS = """
INSERT INTO signed_report (id, submission_id, patient_id, clinic_id, version, signer_id, diagnosis,
  icd10cm, confidence, image_quality, plan, agreement, finding_object_id, letter_object_id,
  signed_at)
SELECT md5('report' || id), id, patient_id, clinic_id, 1, :reader, 'nv', 'D22.5', 'high', 'good',
  'benign_advice', 'agree', md5('finding' || id), md5('letter' || id),
  received_at + interval '1 day'
FROM submission WHERE case_state = 'signed'
"""


# Made anew after the rows, which takes a fraction of the time; those of constraints stay.
_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()
AND tablename IN ('patient', 'submission', 'screening_result', 'sealed_object', 'signed_report')
AND indexname NOT IN (SELECT conname FROM pg_constraint
  WHERE connamespace = current_schema()::regnamespace)
"""


@dataclass(frozen=True)
class Population:
    """Who asks for pages, and what may be opened.

    Of all cases sent on `old_day` the real ones came last; all were signed at `old_signed_at`.
    """

    reader_id: str
    patient_account_id: str
    patient_id: str
    claimed: tuple[str, ...]
    now: datetime
    old_day: datetime
    old_signed_at: datetime


def fill(installation: Installation, *, cases: int, open_cases: int) -> Population:
    """Make `cases` cases, `open_cases` of them waiting for a reader; the rest is signed and old.

    The real cases come on top. The database is PostgreSQL, prepared and without cases.
    """
    with installation.sessions()() as session, session.begin():
        reader, patient = _people(installation, session)
    with installation.engine.begin() as connection:
        _bulk(connection, reader, cases=cases, open_cases=open_cases)
    with installation.sessions()() as session, session.begin():
        found = _real_cases(installation, session, patient, reader)
    with installation.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("VACUUM (ANALYZE)"))
    return found


def _people(installation: Installation, session: Session) -> tuple[Account, Patient]:
    people = {person.role: person for person in setup.prepare(installation)}
    box = installation.account_secrets()
    reader = accounts.account_by_email(session, box, people[Role.DERMATOLOGIST].email)
    account = accounts.account_by_email(session, box, people[Role.PATIENT].email)
    patient = accounts.patient_of(session, account.id) if account else None
    if reader is None or patient is None:
        raise LookupError("The installation's people are missing.")
    return reader, patient


def _real_cases(
    installation: Installation, session: Session, patient: Patient, reader: Account
) -> Population:
    """Some of the one patient who signs in; every other one of a patient of their own."""
    root = installation.settings().root_public_key or b""
    maker = CaseMaker.of(session, installation.blobs(), root, patient=patient, reader=reader)
    now = database_now(session)
    old_day = (now - OLD_AGE).replace(hour=0, minute=0, second=0, microsecond=0)
    last_of_day = old_day + timedelta(days=1) - _MOMENT
    old_signed_at = old_day + timedelta(days=4)
    for _ in range(SEARCHED_PATIENT_CASES):
        maker.signed(received_at=now - timedelta(days=3), signed_at=now)
    for _ in range(RECENT):
        recent = now - timedelta(days=3)
        maker.for_another_patient().signed(received_at=recent, signed_at=now)
    for _ in range(OLD):
        maker.for_another_patient().signed(received_at=last_of_day, signed_at=old_signed_at)
    claimed = [maker.for_another_patient().claimed() for _ in range(CLAIMED)]
    return Population(
        reader_id=reader.id,
        patient_account_id=patient.account_id or "",
        patient_id=patient.id,
        claimed=tuple(claimed),
        now=now,
        old_day=old_day,
        old_signed_at=old_signed_at,
    )


def _bulk(connection: Connection, reader: Account, *, cases: int, open_cases: int) -> None:
    """Foreign keys are not looked up row by row: the statements themselves keep to them."""
    values = {
        "clinic": reader.clinic_id,
        "reader": reader.id,
        "cases": cases,
        "open": open_cases,
        "patients": cases // CASES_OF_PATIENT + 1,
        "share": CASES_OF_PATIENT,
        "days": DAYS,
        "header": _HEADER_SIZE,
        "body": _BODY_SIZE,
    }
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    indexes = connection.execute(text(_INDEXES)).all()
    for name, _ in indexes:
        connection.execute(text(f"DROP INDEX {name}"))
    for statement in (_PATIENTS, _CASES, _RESULTS, _TEXTS, _REPORTS):
        connection.execute(text(statement), values)
    for _, definition in indexes:
        connection.execute(text(definition))
