"""What is audited, and how the entries hang together: a closed vocabulary and a keyed chain."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AuditAction(StrEnum):
    """`subject:what happened`. Nothing outside this list can be written."""

    CLINIC_CREATED = "clinic:created"
    CLINIC_CHANGED = "clinic:changed"
    CLINIC_CLOSED = "clinic:closed"
    SERVICE_TIMES_READ = "service times:read"
    SERVICE_TIMES_CHANGED = "service times:changed"
    ACCOUNT_CREATED = "account:created"
    SIGNED_IN = "account:signed in"
    SIGN_IN_REFUSED = "account:sign-in refused"
    SIGNED_OUT = "account:signed out"
    SECOND_FACTOR_ENROLLED = "account:second factor enrolled"
    SECOND_FACTOR_REMOVED = "account:second factor removed"
    PASSKEY_RENAMED = "account:passkey renamed"
    RECOVERY_CODES_MADE = "account:recovery codes made"
    RECOVERY_CODE_USED = "account:recovery code used"
    STEPPED_UP = "account:stepped up"
    PROOF_REFUSED = "account:proof refused"
    PASSWORD_CHANGED = "account:password changed"  # noqa: S105 - an action, as are the next two
    PASSWORD_RESET_ASKED = "account:password reset asked"  # noqa: S105
    PASSWORD_RESET = "account:password reset"  # noqa: S105
    EMAIL_CHANGE_ASKED = "account:email change asked"
    EMAIL_CHANGED = "account:email changed"
    REGISTRATION_ASKED = "account:registration asked"
    PEOPLE_LISTED = "people:listed"
    PERSON_READ = "people:read"
    PERSON_INVITED = "people:invited"
    INVITATION_WITHDRAWN = "people:invitation withdrawn"
    ACCOUNT_DISABLED = "people:disabled"
    ACCOUNT_ENABLED = "people:enabled"
    ROLE_CHANGED = "people:role changed"
    SESSIONS_ENDED = "people:sessions ended"
    SECOND_FACTOR_RESET = "people:second factor reset"
    ACCOUNT_READ = "account:read"
    LANGUAGE_CHANGED = "account:language of letters changed"
    CONSENT_RECORDED = "consent:recorded"
    ACCESS_DENIED = "access:denied"
    REQUEST_REFUSED = "request:refused"
    SUBMISSION_RECEIVED = "submission:received"
    SUBMISSION_SCREENED = "submission:screened"
    SCREENING_FAILED = "submission:screening failed"
    SCREENING_GIVEN_UP = "submission:screening given up"
    SCREENING_RETRIED = "submission:screening retried"
    RETAKE_REQUESTED = "submission:retake requested"
    PHOTOS_REPLACED = "submission:photos replaced"
    PHOTOS_REFUSED = "submission:photos refused"
    CASE_LISTED = "case:listed"
    CASE_CLAIMED = "case:claimed"
    CASE_RELEASED = "case:released"
    CASE_HANDED_OVER = "case:handed over"
    CASE_ESCALATED = "case:escalated"
    CASE_READ = "case:read"
    STATUS_READ = "case:status read"
    FIRST_READ_RECORDED = "case:first read recorded"
    CASE_SIGNED = "case:signed"
    SECOND_READS_LISTED = "second read:listed"
    SECOND_READ_ASKED = "second read:asked for"
    SECOND_READ_TAKEN = "second read:taken"
    SECOND_READ_GIVEN_BACK = "second read:given back"
    SECOND_READ_RECORDED = "second read:recorded"
    SECOND_READ_WITHDRAWN = "second read:withdrawn"
    SIGNATURE_HELD = "second read:signature held"
    DOUBLE_READ_RULE_READ = "second read:rule read"
    DOUBLE_READ_RULE_CHANGED = "second read:rule changed"
    MESSAGES_LISTED = "message:listed"
    MESSAGES_READ = "message:read"
    MESSAGE_SENT = "message:sent"
    MESSAGES_TAKEN_OVER = "message:taken over"
    MESSAGES_NEED_NO_ANSWER = "message:no answer needed"
    NOTE_WRITTEN = "case:note written"
    RESULT_READ = "case:result read"
    LETTER_POSTED = "case:letter posted"
    DRAFT_SAVED = "case:draft saved"
    DRAFT_DISCARDED = "case:draft discarded"
    LETTER_DRAFTED = "case:letter drafted"
    SIGNING_PREVIEWED = "case:signing previewed"
    REPORT_CHANGED = "case:signed report changed"
    REPORT_TAKEN_OVER = "case:signed report taken over"
    ATTACHMENT_ADDED = "case:attachment added"
    ATTACHMENT_REMOVED = "case:attachment removed"
    ATTACHMENT_READ = "case:attachment read"
    PATHOLOGY_LISTED = "pathology:awaited cases listed"
    PATHOLOGY_RECORDED = "case:pathology recorded"
    KEYS_ASKED = "keys:asked"
    KEYS_RELEASED = "keys:released"
    KEYS_REFUSED = "keys:refused"
    OBJECT_FETCHED = "object:fetched"
    OBJECTS_SETTLED = "object:moved under the patient's key"
    EPOCH_KEY_MADE = "keys:epoch key made"
    EPOCH_KEY_DESTROYED = "keys:epoch key destroyed"
    MASTER_KEY_ROTATED = "keys:master key rotated"
    MASTER_KEY_RETIRED = "keys:master key retired"
    PATIENT_KEY_ROTATED = "keys:patient's key rotated"
    EMERGENCY_COPIES_MADE = "keys:emergency copies made"
    EMERGENCY_ACCESS = "keys:opened in an emergency"
    PROCESS_ENROLLED = "keys:process enrolled"
    EHR_CLIENT_REGISTERED = "ehr:client registered"
    EHR_READ = "ehr:read"
    OPERATIONS_READ = "operations:read"
    READING_READ = "reading:statistics read"
    TRAINING_EXPORT_STARTED = "training set:export started"
    TRAINING_SET_EXPORTED = "training set:exported"
    CASE_EXPORTED = "case:exported to a training set"
    RECORD_EXPORTED = "record:exported by its patient"
    ERASURE_ASKED = "erasure:asked for"
    ERASURE_WITHDRAWN = "erasure:request withdrawn"
    ERASURE_GRANTED = "erasure:granted"
    ERASURE_REFUSED = "erasure:refused"
    ERASURES_LISTED = "erasure:requests listed"
    ERASURE_ANSWER_READ = "erasure:answer read"
    CERTIFICATE_FETCHED = "erasure:certificate fetched"
    PATIENT_ERASED = "patient:erased"
    RETENTION_APPLIED = "retention:applied"
    BACKUP_MADE = "backup:made"
    BACKUP_RESTORED = "backup:restored"
    AUDIT_SEARCHED = "audit:searched"
    AUDIT_EXPORTED = "audit:exported"
    ACCESS_LOG_READ = "audit:own access log read"


@dataclass(frozen=True)
class AuditEvent:
    """One entry. `detail` holds ids, codes and counts, never a name, a text or a secret.

    An emergency alone is told with the names of the two who opened the case, and their reason.
    """

    at: datetime
    action: AuditAction
    actor: str
    clinic_id: str | None = None
    patient_id: str | None = None
    submission_id: str | None = None
    allowed: bool = True
    detail: str = ""


GENESIS = "0" * 64


def chain_mac(key: bytes, *, previous: str, sequence: int, event: AuditEvent) -> str:
    """HMAC-SHA256 (RFC 2104), hex, over the previous entry's MAC, the place and the entry."""
    text = json.dumps(
        [
            previous,
            sequence,
            event.at.isoformat(timespec="microseconds"),
            event.action,
            event.actor,
            event.clinic_id,
            event.patient_id,
            event.submission_id,
            event.allowed,
            event.detail,
        ],
        separators=(",", ":"),
    )
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
