"""Every table. No behaviour: what may happen is decided by the rules, what happens in `records`.

Constraints have names and say "X implies Y", so that wrong data is impossible, not unlikely.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.double_read import ConsensusPath, ReadReason, ReadState
from clinic.due_time import LONGEST_LIMIT, Clock
from clinic.escalation import Level, Promise
from clinic.hand_over import HandOverReason
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.records.db import Base as Base  # noqa: PLC0414 - the tables are in its metadata
from clinic.records.db import UtcDateTime, new_id
from clinic.report_values import ReportStatus
from clinic.retention import ErasureState
from clinic.submission import CaseState, ScreeningState

ID = String(32)
SHA256 = String(64)


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN (" + ", ".join(f"'{value}'" for value in values) + ")"


# What partial indexes hold: few rows of very many.
_WAITING = f"screening_state = '{ScreeningState.QUEUED}'"
_HELD = f"screening_state = '{ScreeningState.RUNNING}'"
_DEAD_IN_REVIEW = (
    f"screening_state = '{ScreeningState.DEAD}' AND case_state = '{CaseState.AWAITING_REVIEW}'"
)
_OPEN = f"case_state = '{CaseState.AWAITING_REVIEW}'"
_SIGNED = f"case_state = '{CaseState.SIGNED}'"
_WAITING_FOR_PHOTOS = f"case_state = '{CaseState.UNREADABLE}'"
_LONG_AGO = "1970-01-01 00:00:00.000000"
_UNDECIDED = f"state IN ('{ErasureState.OPEN}', '{ErasureState.GRANTED}')"
_READ_OPEN = f"state = '{ReadState.OPEN}'"
_UNANSWERED = "from_patient AND answered_at IS NULL"
_EMERGENCY = f"action = '{AuditAction.EMERGENCY_ACCESS}'"


SIGNED_STATUSES = (
    *(ReportStatus.FINAL, ReportStatus.AMENDED, ReportStatus.CORRECTED, ReportStatus.APPENDED),
)


def _partial(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that `where` names; a query must say the same without a parameter."""
    condition = text(where)
    return Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


class Clinic(Base):
    """One of this installation's clinics. `slug` is its place in addresses: /c/<slug>."""

    __tablename__ = "clinic"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    slug: Mapped[str] = mapped_column(String(40), default=new_id)
    name: Mapped[str] = mapped_column(String(120))
    phone: Mapped[str] = mapped_column(String(40))
    time_zone: Mapped[str] = mapped_column(String(60), default="Europe/London")
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (Index("clinic_slug", "slug", unique=True),)


class Account(Base):
    """Somebody who can sign in. The address is stored as a blind index and sealed, never plain."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), index=True)
    role: Mapped[str] = mapped_column(String(20))
    email_index: Mapped[str] = mapped_column(SHA256, unique=True)
    email_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    password_hash: Mapped[str] = mapped_column(Text)
    family_name: Mapped[str | None] = mapped_column(String(120))
    given_name: Mapped[str | None] = mapped_column(String(120))
    registration_number: Mapped[str | None] = mapped_column(String(40))
    birth_date_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_secret_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(_one_of("role", Role), name="account_role_is_known"),
        CheckConstraint(
            "role <> 'dermatologist' OR (registration_number IS NOT NULL"
            " AND family_name IS NOT NULL AND given_name IS NOT NULL)",
            name="account_dermatologist_has_name_and_registration",
        ),
        CheckConstraint(
            "role <> 'patient' OR (family_name IS NULL AND given_name IS NULL)",
            name="account_patient_name_is_sealed_elsewhere",
        ),
    )


class LoginSession(Base):
    """A signed-in browser. The cookie holds a random token, this row only its SHA-256."""

    __tablename__ = "login_session"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    token_hash: Mapped[str] = mapped_column(SHA256, unique=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Coarse words, such as "Firefox on Linux". Both have a default for an earlier version's portal.
    device: Mapped[str] = mapped_column(String(60), server_default="a browser")
    second_factor_due: Mapped[bool] = mapped_column(Boolean, server_default=false())
    second_factor_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stepped_up_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account: Mapped[Account] = relationship(lazy="joined")


class SignInLink(Base):
    """A one-time sign-in link; a demo installation alone makes and accepts them."""

    __tablename__ = "sign_in_link"

    token_hash: Mapped[str] = mapped_column(SHA256, primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Passkey(Base):
    """A WebAuthn credential: its public key alone; the private one never leaves its device."""

    __tablename__ = "passkey"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PasskeyChallenge(Base):
    """A challenge that was sent to a browser. Whoever answers deletes it, so it works once.

    Before a sign-in with a passkey nobody knows whose it is, and no login session exists yet.
    """

    __tablename__ = "passkey_challenge"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"), index=True)
    challenge: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecoveryCode(Base):
    """A code that stands in for a lost second factor, once. 120 random bits, stored as SHA-256."""

    __tablename__ = "recovery_code"

    code_hash: Mapped[str] = mapped_column(SHA256, primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class KnownDevice(Base):
    """A browser in which an account was signed in before. Its cookie holds a random token."""

    __tablename__ = "known_device"

    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)
    token_hash: Mapped[str] = mapped_column(SHA256, primary_key=True)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OneTimeLink(Base):
    """A link that was mailed: to set a password, to prove an address, to register.

    The row holds the SHA-256 of its token. `email_sealed` is the address that the link proves.
    """

    __tablename__ = "one_time_link"

    token_hash: Mapped[str] = mapped_column(SHA256, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(20))
    account_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"), index=True)
    email_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(_one_of("purpose", LinkPurpose), name="one_time_link_purpose_is_known"),
        CheckConstraint(
            "(purpose = 'registration') = (account_id IS NULL)", name="one_time_link_names_account"
        ),
        CheckConstraint(
            "(purpose = 'password reset') = (email_sealed IS NULL)",
            name="one_time_link_names_address",
        ),
    )


class Invitation(Base):
    """A place in a clinic's staff, for whoever brings the token. The row holds its SHA-256."""

    __tablename__ = "invitation"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    token_hash: Mapped[str] = mapped_column(SHA256, unique=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), index=True)
    role: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (CheckConstraint("role <> 'patient'", name="invitation_is_for_staff"),)


class Notice(Base):
    """A mail that waits to be sent, or was sent. It holds no text: that is made while sending.

    `address_sealed` is set where the mail does not go to the account's own address.
    """

    __tablename__ = "notice"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(30))
    account_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"), index=True)
    address_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (
        CheckConstraint(_one_of("kind", NoticeKind), name="notice_kind_is_known"),
        CheckConstraint(
            "account_id IS NOT NULL OR address_sealed IS NOT NULL", name="notice_has_a_receiver"
        ),
        _partial("notice_to_send", "not_before", where="sent_at IS NULL"),
    )


class Patient(Base):
    """A person with a record. Name, birth date and contact are sealed objects of kind identity."""

    __tablename__ = "patient"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), index=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"), unique=True)
    record_number: Mapped[str] = mapped_column(String(20), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    language: Mapped[str] = mapped_column(String(10), server_default="en")  # of letters, BCP 47


class Consent(Base):
    """A decision by purpose and its period. The newest row of a purpose counts; none is changed."""

    __tablename__ = "consent"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(30))
    permitted: Mapped[bool] = mapped_column(Boolean)
    valid_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # None: without an end
    text_version: Mapped[str] = mapped_column(String(20))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "valid_until IS NULL OR valid_until > recorded_at", name="consent_period_has_a_length"
        ),
        Index("consent_by_purpose", "purpose", "permitted"),
    )


class Submission(Base):
    """One lesion that a patient sent: the case, and at the same time its place in the queue."""

    __tablename__ = "submission"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    body_site: Mapped[str] = mapped_column(String(30))
    body_side: Mapped[str] = mapped_column(String(20))
    ai_permitted: Mapped[bool] = mapped_column(Boolean)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)

    case_state: Mapped[str] = mapped_column(String(20), default=CaseState.RECEIVED)
    urgency: Mapped[int | None] = mapped_column(Integer)  # 0 urgent, 1 suspicious, 2 routine
    retake_reason: Mapped[str | None] = mapped_column(Text)
    claimed_by: Mapped[str | None] = mapped_column(ForeignKey("account.id"))
    claim_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_by: Mapped[datetime | None] = mapped_column(UtcDateTime)  # suspected cancer: 28 days
    # When the patient opened the newest version of the result or was sent its letter, and when the
    # first version that they were told of, once a later one has followed it.
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    first_told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When the reconciler looks whether somebody must be told of a limit; None: all is settled.
    escalate_at: Mapped[datetime | None] = mapped_column(UtcDateTime, server_default=_LONG_AGO)

    screening_state: Mapped[str] = mapped_column(String(10), default=ScreeningState.QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    hinted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    token: Mapped[str | None] = mapped_column(ID)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_failure: Mapped[str | None] = mapped_column(String(200))

    patient: Mapped[Patient] = relationship()

    __table_args__ = (
        CheckConstraint(_one_of("case_state", CaseState), name="submission_case_state_is_known"),
        CheckConstraint(
            _one_of("screening_state", ScreeningState), name="submission_screening_state_is_known"
        ),
        CheckConstraint(
            "screening_state <> 'running' OR (token IS NOT NULL AND lease_until IS NOT NULL)",
            name="submission_running_has_token_and_lease",
        ),
        CheckConstraint(
            "case_state NOT IN ('awaiting_review', 'signed') OR urgency IS NOT NULL",
            name="submission_in_review_has_urgency",
        ),
        CheckConstraint(
            "case_state <> 'unreadable' OR retake_reason IS NOT NULL",
            name="submission_unreadable_has_reason",
        ),
        CheckConstraint(
            "screening_state <> 'dead' OR last_failure IS NOT NULL",
            name="submission_dead_has_reason",
        ),
        _partial("submission_to_claim", "attempt", "received_at", where=_WAITING),
        _partial("submission_to_hint", "received_at", where=_WAITING),
        _partial("submission_held", "lease_until", where=_HELD),
        # The next three hold open cases alone: however many are signed, the queue stays small.
        _partial("submission_review_order", "clinic_id", "urgency", "due_at", "id", where=_OPEN),
        _partial("submission_claims", "claimed_by", where=f"{_OPEN} AND claimed_by IS NOT NULL"),
        _partial(
            "submission_review_by_site",
            *("clinic_id", "body_site", "urgency", "due_at", "id"),
            where=_OPEN,
        ),
        _partial(
            "submission_waiting_for_photos", "clinic_id", "due_at", "id", where=_WAITING_FOR_PHOTOS
        ),
        _partial("submission_to_escalate", "escalate_at", where="escalate_at IS NOT NULL"),
        _partial("submission_signed_by_sending", "clinic_id", "received_at", "id", where=_SIGNED),
        _partial("submission_kept_by", "claimed_by", "received_at", "id", where=_SIGNED),
        _partial("submission_dead_in_review", "received_at", where=_DEAD_IN_REVIEW),
    )


class SealedObject(Base):
    """A DSEAL/1 object. The header (who can open it) is here, a photo's body in the blob store.

    Texts keep their few bytes in `body`. The two digests were written with the upload and are
    compared at every opening.
    """

    __tablename__ = "sealed_object"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    submission_id: Mapped[str | None] = mapped_column(ForeignKey("submission.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    slot: Mapped[int] = mapped_column(Integer)
    view: Mapped[str | None] = mapped_column(String(20))
    header: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    body_size: Mapped[int] = mapped_column(Integer)
    core_sha256: Mapped[str] = mapped_column(SHA256)
    body_sha256: Mapped[str] = mapped_column(SHA256)
    sealed_by: Mapped[str] = mapped_column(String(10))
    settled: Mapped[bool] = mapped_column(Boolean, default=False)
    current: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            _one_of("sealed_by", ("browser", "server", "worker")), name="sealed_object_sealer_known"
        ),
        Index("sealed_object_to_settle", "settled", "created_at"),
    )


class ScreeningResult(Base):
    """What the computer found: exactly one for each submission.

    `clinic_id` is the submission's. Where an earlier version's worker leaves it out, the database
    itself fills it in, so that versions can work side by side.
    """

    __tablename__ = "screening_result"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    clinic_id: Mapped[str | None] = mapped_column(
        ForeignKey("clinic.id", name="screening_result_clinic_id_fkey")
    )
    ai_used: Mapped[bool] = mapped_column(Boolean)
    probabilities: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    members: Mapped[dict[str, dict[str, float]] | None] = mapped_column(JSON(none_as_null=True))
    spread: Mapped[float | None] = mapped_column(Float)
    prediction_sets: Mapped[dict[str, list[str]] | None] = mapped_column(JSON(none_as_null=True))
    outlier_score: Mapped[float | None] = mapped_column(Float)
    explained_class: Mapped[str | None] = mapped_column(String(10))
    # Of each heat-map, in the order of their slots: {"label", "focus"}; None where there was one.
    maps: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    analysed_view: Mapped[str | None] = mapped_column(String(20))
    quality_flags: Mapped[list[str]] = mapped_column(JSON)
    quality_measures: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    urgency: Mapped[int] = mapped_column(Integer)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    rule_reasons: Mapped[list[str]] = mapped_column(JSON)  # no class, no probability: read blind
    seven_point_score: Mapped[int | None] = mapped_column(Integer)
    model_version: Mapped[str | None] = mapped_column(String(40))
    model_fingerprint: Mapped[str | None] = mapped_column(SHA256, index=True)
    engine: Mapped[str | None] = mapped_column(String(40))  # what computed it, and on what
    device: Mapped[str | None] = mapped_column(String(80))
    stage_seconds: Mapped[dict[str, float]] = mapped_column(JSON)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "NOT ai_used OR (probabilities IS NOT NULL AND model_fingerprint IS NOT NULL)",
            name="screening_result_names_its_model",
        ),
        CheckConstraint(
            "ai_used OR probabilities IS NULL", name="screening_result_without_ai_invents_nothing"
        ),
        Index("screening_result_finished", "finished_at"),
        Index("screening_result_of_model", "model_version", "finished_at"),
        Index("screening_result_of_clinic", "clinic_id", "finished_at"),
        Index("screening_result_of_clinic_and_model", "clinic_id", "model_version", "finished_at"),
    )


class FirstRead(Base):
    """The dermatologist's own impression, stored before the computer's view is revealed."""

    __tablename__ = "first_read"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    reader_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    impression: Mapped[str] = mapped_column(String(20))
    # Both came later: an earlier version's portal leaves them out.
    alternatives: Mapped[list[str]] = mapped_column(JSON, server_default=text("'[]'"))
    urgency: Mapped[int | None] = mapped_column(Integer)  # as the reader sees it; see Submission
    confidence: Mapped[str] = mapped_column(String(20))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Reading(Base):
    """When a reader had a case before them first, was given the computer's view, and signed.

    It opens nothing: that is what FirstRead does.
    """

    __tablename__ = "reading"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    reader_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revealed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SecondRead(Base):
    """A second dermatologist's reading of a case: the wish for it, and later the opinion.

    `asked_by` is None where the clinic's rule asks, `asked_of` where any colleague may read. With
    `holds` nothing is signed before it is read. The two columns after it keep what the case's
    reader thought when it was asked for. Question and note are sealed objects.
    """

    __tablename__ = "second_read"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    reason: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10), default=ReadState.OPEN)
    blind: Mapped[bool] = mapped_column(Boolean)
    holds: Mapped[bool] = mapped_column(Boolean)
    first_diagnosis: Mapped[str | None] = mapped_column(String(20))
    first_plan: Mapped[str | None] = mapped_column(String(30))
    asked_by: Mapped[str | None] = mapped_column(ForeignKey("account.id"))
    asked_of: Mapped[str | None] = mapped_column(ForeignKey("account.id"))
    question_object_id: Mapped[str | None] = mapped_column(ForeignKey("sealed_object.id"))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    withdrawn_reason: Mapped[str | None] = mapped_column(String(30))

    reader_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"))
    reader_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    differential: Mapped[list[str] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # likeliest first
    confidence: Mapped[str | None] = mapped_column(String(20))
    plan: Mapped[str | None] = mapped_column(String(30))
    note_object_id: Mapped[str | None] = mapped_column(ForeignKey("sealed_object.id"))

    __table_args__ = (
        CheckConstraint(_one_of("state", ReadState), name="second_read_state_is_known"),
        CheckConstraint(_one_of("reason", ReadReason), name="second_read_reason_is_known"),
        CheckConstraint(
            "state <> 'read' OR read_at IS NOT NULL", name="second_read_read_has_a_time"
        ),
        CheckConstraint(
            "state <> 'read' OR (reader_id IS NOT NULL AND differential IS NOT NULL"
            " AND confidence IS NOT NULL AND plan IS NOT NULL)",
            name="second_read_read_is_complete",
        ),
        CheckConstraint(
            "(state = 'withdrawn') = (withdrawn_reason IS NOT NULL)",
            name="second_read_withdrawn_has_reason",
        ),
        _partial("second_read_to_do", "clinic_id", "due_at", where=_READ_OPEN),
        Index(
            "second_read_one_at_a_time",
            "submission_id",
            unique=True,
            postgresql_where=text(_READ_OPEN),
            sqlite_where=text(_READ_OPEN),
        ),
    )


class Consensus(Base):
    """What the readers of a case settled on, and how. The newest row of a case counts."""

    __tablename__ = "consensus"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    path: Mapped[str] = mapped_column(String(20))
    diagnosis: Mapped[str] = mapped_column(String(20))
    plan: Mapped[str] = mapped_column(String(30))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(_one_of("path", ConsensusPath), name="consensus_path_is_known"),
    )


class DoubleReadRule(Base):
    """Which cases of a clinic a second dermatologist reads; without a row, the usual ones."""

    __tablename__ = "double_read_rule"

    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), primary_key=True)
    benign_share: Mapped[float] = mapped_column(Float)
    skin_tone: Mapped[bool] = mapped_column(Boolean)
    disagreement: Mapped[bool] = mapped_column(Boolean)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "benign_share >= 0 AND benign_share <= 1", name="double_read_rule_share_is_a_share"
        ),
    )


class CaseMessage(Base):
    """A message between a patient and the readers of a case. Its text is a sealed object.

    `read_at` is set once the other side has opened it. On a patient's: `answer_by`, and
    `answered_at` once a reader has answered or said that it needs no answer.
    """

    __tablename__ = "case_message"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    author_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    from_patient: Mapped[bool] = mapped_column(Boolean)
    object_id: Mapped[str] = mapped_column(ForeignKey("sealed_object.id"))
    sent_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answer_by: Mapped[datetime | None] = mapped_column(UtcDateTime)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    author: Mapped[Account] = relationship()

    __table_args__ = (
        _partial("case_message_unanswered", "clinic_id", "sent_at", where=_UNANSWERED),
    )


class CaseNote(Base):
    """What a reader wrote for the readers of a case alone. Rows are never changed."""

    __tablename__ = "case_note"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    author_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    object_id: Mapped[str] = mapped_column(ForeignKey("sealed_object.id"))
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)

    author: Mapped[Account] = relationship()


class SignedReport(Base):
    """A version of a signed finding. Rows are never changed; the texts are sealed objects.

    The database refuses a change, and a deletion before the patient's key is destroyed. Version 1
    is final; each later one names how and why it differs, and holds all that counts from then on.
    """

    __tablename__ = "signed_report"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    version: Mapped[int] = mapped_column(Integer)
    signer_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    diagnosis: Mapped[str] = mapped_column(String(20))
    icd10cm: Mapped[str] = mapped_column(String(10))
    confidence: Mapped[str] = mapped_column(String(20))
    image_quality: Mapped[str] = mapped_column(String(20))
    plan: Mapped[str] = mapped_column(String(30))
    agreement: Mapped[str] = mapped_column(String(20))
    override_reason: Mapped[str | None] = mapped_column(String(40))
    finding_object_id: Mapped[str] = mapped_column(ForeignKey("sealed_object.id"))
    letter_object_id: Mapped[str] = mapped_column(ForeignKey("sealed_object.id"))
    gp_letter_object_id: Mapped[str | None] = mapped_column(
        ForeignKey("sealed_object.id", name="signed_report_gp_letter_object_id_fkey")
    )
    letter_template: Mapped[str | None] = mapped_column(String(60))
    follow_up_on: Mapped[date | None] = mapped_column(Date)
    status: Mapped[str] = mapped_column(String(10), server_default=ReportStatus.FINAL)
    change_reason: Mapped[str | None] = mapped_column(String(30))
    signed_at: Mapped[datetime] = mapped_column(UtcDateTime)

    signer: Mapped[Account] = relationship()
    submission: Mapped[Submission] = relationship()

    __table_args__ = (
        UniqueConstraint("submission_id", "version", name="signed_report_version_once"),
        CheckConstraint(
            "agreement <> 'override' OR override_reason IS NOT NULL",
            name="signed_report_override_has_reason",
        ),
        CheckConstraint(_one_of("status", SIGNED_STATUSES), name="signed_report_status_is_known"),
        CheckConstraint(
            "(version = 1) = (status = 'final')", name="signed_report_first_version_is_final"
        ),
        CheckConstraint(
            "(version = 1) = (change_reason IS NULL)", name="signed_report_change_has_reason"
        ),
        Index("signed_report_by_clinic", "clinic_id", "signed_at", "submission_id"),
        Index("signed_report_by_signer", "signer_id", "signed_at", "submission_id"),
    )


class CaseDraft(Base):
    """What a reader has written of a decision, sealed; each save replaces the one before.

    `revision` grows with each save: a tab that does not know the newest one is told so.
    """

    __tablename__ = "case_draft"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    reader_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    object_id: Mapped[str] = mapped_column(ForeignKey("sealed_object.id"))
    revision: Mapped[int] = mapped_column(Integer)
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Attachment(Base):
    """A file beside a case; its bytes are a sealed object, its name is not kept."""

    __tablename__ = "attachment"

    object_id: Mapped[str] = mapped_column(ForeignKey("sealed_object.id"), primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    media_type: Mapped[str] = mapped_column(String(30))
    size: Mapped[int] = mapped_column(Integer)  # bytes
    for_patient: Mapped[bool] = mapped_column(Boolean)
    added_by: Mapped[str] = mapped_column(ForeignKey("account.id"))
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PathologyResult(Base):
    """What the laboratory found of a signed case. Rows are only added; the newest counts."""

    __tablename__ = "pathology_result"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), index=True)
    diagnosis: Mapped[str] = mapped_column(String(20))
    icd10cm: Mapped[str] = mapped_column(String(10))
    morphology: Mapped[str | None] = mapped_column(String(10))  # ICD-O-3.2, such as 8720/3
    specimen: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(20))
    reported_on: Mapped[date] = mapped_column(Date)
    note_object_id: Mapped[str | None] = mapped_column(ForeignKey("sealed_object.id"))
    added_by: Mapped[str] = mapped_column(ForeignKey("account.id"))
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EpochKeyRow(Base):
    """A clinic key pair that browsers seal to. The private half is wrapped by the master key."""

    __tablename__ = "epoch_key"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    signed: Mapped[str] = mapped_column(Text)
    private_wrapped: Mapped[bytes | None] = mapped_column(LargeBinary)
    emergency_copy: Mapped[bytes | None] = mapped_column(LargeBinary)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    not_after: Mapped[datetime] = mapped_column(UtcDateTime)
    destroyed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "(destroyed_at IS NULL) = (private_wrapped IS NOT NULL)",
            name="epoch_key_destroyed_is_gone",
        ),
        CheckConstraint(
            "destroyed_at IS NULL OR emergency_copy IS NULL",
            name="epoch_key_destroyed_has_no_copy",
        ),
    )


class PatientKey(Base):
    """The key that all of a patient's objects end under. Destroying it erases the patient.

    The row outlives the patient's, so `patient_id` is no foreign key.
    """

    __tablename__ = "patient_key"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    patient_id: Mapped[str] = mapped_column(ID)
    version: Mapped[int] = mapped_column(Integer)
    wrapped: Mapped[bytes | None] = mapped_column(LargeBinary)
    emergency_copy: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    destroyed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("patient_id", "version", name="patient_key_version_once"),
        CheckConstraint(
            "(destroyed_at IS NULL) = (wrapped IS NOT NULL)", name="patient_key_destroyed_is_gone"
        ),
        CheckConstraint(
            "destroyed_at IS NULL OR emergency_copy IS NULL",
            name="patient_key_destroyed_has_no_copy",
        ),
    )


class MasterKeyHead(Base):
    """Which master key wraps what is new: one row, locked by whoever wraps and by a rotation."""

    __tablename__ = "master_key_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key_id: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (CheckConstraint("id = 1", name="master_key_head_is_one_row"),)


class ProcessKey(Base):
    """A web or worker process that may receive file keys. The MAC proves that it was enrolled."""

    __tablename__ = "process_key"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    program: Mapped[str] = mapped_column(String(10))
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    mac: Mapped[str] = mapped_column(SHA256)
    model_version: Mapped[str | None] = mapped_column(String(40))
    model_fingerprint: Mapped[str | None] = mapped_column(SHA256)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyRequest(Base):
    """A wish to open objects, and the keeper's answer. The row is all that the keeper believes."""

    __tablename__ = "key_request"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    purpose: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    object_ids: Mapped[list[str]] = mapped_column(JSON)
    recipient_key: Mapped[bytes] = mapped_column(LargeBinary)
    process_id: Mapped[str | None] = mapped_column(ForeignKey("process_key.id"))
    login_session_id: Mapped[str | None] = mapped_column(ForeignKey("login_session.id"))
    ehr_client_id: Mapped[str | None] = mapped_column(ForeignKey("ehr_client.id"))
    submission_id: Mapped[str | None] = mapped_column(ForeignKey("submission.id"))
    token: Mapped[str | None] = mapped_column(ID)
    answer: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    refusal: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            _one_of("state", ("waiting", "granted", "refused")), name="key_request_state_is_known"
        ),
        CheckConstraint(
            "(state = 'granted') = (answer IS NOT NULL)", name="key_request_granted_has_answer"
        ),
        CheckConstraint(
            "(state = 'refused') = (refusal IS NOT NULL)", name="key_request_refused_has_reason"
        ),
        Index("key_request_by_login", "login_session_id", "created_at"),
        Index("key_request_by_client", "ehr_client_id", "created_at"),
    )


class EhrClient(Base):
    """A registered EHR system. The row holds only the SHA-256 of its bearer token."""

    __tablename__ = "ehr_client"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    name: Mapped[str] = mapped_column(String(120))
    token_hash: Mapped[str] = mapped_column(SHA256, unique=True)
    scopes: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditEntry(Base):
    """The audit chain. Rows are only ever added."""

    __tablename__ = "audit_entry"

    sequence: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str] = mapped_column(String(60))
    actor: Mapped[str] = mapped_column(String(80))
    clinic_id: Mapped[str | None] = mapped_column(ID)
    patient_id: Mapped[str | None] = mapped_column(ID, index=True)
    submission_id: Mapped[str | None] = mapped_column(ID, index=True)
    allowed: Mapped[bool] = mapped_column(Boolean)
    detail: Mapped[str] = mapped_column(String(400))
    mac: Mapped[str] = mapped_column(SHA256)

    __table_args__ = (
        Index("audit_entry_of_clinic", "clinic_id", "sequence"),
        Index("audit_entry_at", "at"),
        _partial("audit_entry_emergencies", "sequence", where=_EMERGENCY),
    )


class AuditHead(Base):
    """The last link of the chain: one row, locked by whoever adds the next."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    mac: Mapped[str] = mapped_column(SHA256)

    __table_args__ = (CheckConstraint("id = 1", name="audit_head_is_one_row"),)


class AuditCheck(Base):
    """What the last walk along the whole chain found. For display: it is not part of the chain."""

    __tablename__ = "audit_check"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    entries: Mapped[int] = mapped_column(BigInteger)
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (CheckConstraint("id = 1", name="audit_check_is_one_row"),)


class ErasureRequest(Base):
    """A patient's wish to be erased, its answer, and the certificate when it is done.

    The row outlives the patient's and names them by an opaque id alone, so `patient_id` is no
    foreign key. Of the token that fetches the certificate it holds only the SHA-256.
    """

    __tablename__ = "erasure_request"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    patient_id: Mapped[str] = mapped_column(ID)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), index=True)
    state: Mapped[str] = mapped_column(String(10), default=ErasureState.OPEN)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    token_hash: Mapped[str | None] = mapped_column(SHA256, unique=True)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by: Mapped[str | None] = mapped_column(String(80))
    refusal: Mapped[str | None] = mapped_column(String(40))
    certificate: Mapped[str | None] = mapped_column(Text)
    fetched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(_one_of("state", ErasureState), name="erasure_request_state_is_known"),
        CheckConstraint(
            "(state = 'refused') = (refusal IS NOT NULL)", name="erasure_request_refusal_has_reason"
        ),
        CheckConstraint(
            "(state = 'done') = (certificate IS NOT NULL)",
            name="erasure_request_done_has_certificate",
        ),
        Index(
            "erasure_request_one_at_a_time",
            "patient_id",
            unique=True,
            postgresql_where=text(_UNDECIDED),
            sqlite_where=text(_UNDECIDED),
        ),
        Index("erasure_request_by_state", "state", "due_at"),
    )


class ReportWithdrawal(Base):
    """A signed report that is gone: record systems that ask for it are told so, by opaque ids.

    A delivery that pushes notices sends those whose `delivered_at` is not set.
    """

    __tablename__ = "report_withdrawal"

    submission_id: Mapped[str] = mapped_column(ID, primary_key=True)
    patient_id: Mapped[str] = mapped_column(ID, index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), index=True)
    withdrawn_at: Mapped[datetime] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Holiday(Base):
    """A day on which the clinic does not work; due times skip it."""

    __tablename__ = "holiday"

    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)


class ServiceLimit(Base):
    """A limit that the clinic's administrators set; without a row the default counts."""

    __tablename__ = "service_limit"

    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), primary_key=True)
    clock: Mapped[str] = mapped_column(String(20), primary_key=True)
    working_days: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        CheckConstraint(_one_of("clock", Clock), name="service_limit_clock_is_known"),
        CheckConstraint(
            f"working_days BETWEEN 1 AND {LONGEST_LIMIT}", name="service_limit_is_possible"
        ),
    )


class EscalationContact(Base):
    """Somebody of the clinic who is told of limits that come near or have passed."""

    __tablename__ = "escalation_contact"

    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)


class Escalation(Base):
    """A promise of a case that came near its limit or broke: written once for each level.

    A promise that begins anew, such as with a later version of the report, is told of anew.
    `told` holds the ids of the accounts that were told.
    """

    __tablename__ = "escalation"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    promise: Mapped[str] = mapped_column(String(10), primary_key=True)
    level: Mapped[str] = mapped_column(String(10), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    told: Mapped[list[str]] = mapped_column(JSON)

    __table_args__ = (
        CheckConstraint(_one_of("promise", Promise), name="escalation_promise_is_known"),
        CheckConstraint(_one_of("level", Level), name="escalation_level_is_known"),
        Index("escalation_of_clinic", "clinic_id", "at"),
    )


class HandOver(Base):
    """A reader passed a case on: to a colleague, or to the pool where `to_id` is not set."""

    __tablename__ = "hand_over"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinic.id"))
    from_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    to_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"))
    reason: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(_one_of("reason", HandOverReason), name="hand_over_reason_is_known"),
        CheckConstraint("to_id IS NULL OR to_id <> from_id", name="hand_over_is_to_another"),
    )
