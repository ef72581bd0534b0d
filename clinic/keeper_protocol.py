"""What the keeper is asked and how it decides: pure rules over facts that it read itself.

Nothing in a message is believed. The keeper re-wraps a file key only when `refusal` finds none.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

from clinic.access import Actor, CaseFacts, Permission, Role, may
from clinic.ehr_client import EhrClient

RECIPIENT_KID = "viewer"
HOURLY_CAP = 2000
CANNOT_OPEN = "an object cannot be opened"  # about the object, not about who asks


class KeyPurpose(StrEnum):
    VIEW = "view"  # a viewer's page opens pictures
    TEXT = "text"  # the web process renders texts for a signed-in person
    EHR = "ehr"  # the web process answers a registered EHR client
    SCREENING = "screening"  # an inference worker opens what it holds under a live lease
    TRAINING = "training"  # an administrator's export copies a case that research may use


class ObjectKind(StrEnum):
    """The `type` bound into every container."""

    PHOTO = "photo"
    RENDITION = "rendition"
    HEATMAP = "heatmap"
    HISTORY = "history"
    IDENTITY = "identity"
    FINDING = "finding"
    LETTER = "letter"
    RETAKE = "retake"  # what the reader writes to the patient who is asked for new photos
    DRAFT = "draft"  # a decision that its reader has not signed yet
    GP_LETTER = "gp_letter"
    ATTACHMENT = "attachment"  # a file that a reader put beside the case
    PATHOLOGY = "pathology"  # a note on a histology result
    QUESTION = "question"  # what a reader asks of a second one
    NOTE = "note"  # what the case's readers write for each other
    MESSAGE = "message"  # between the patient and the reader, both ways


_PICTURES = frozenset({ObjectKind.PHOTO, ObjectKind.RENDITION, ObjectKind.HEATMAP})


@dataclass(frozen=True)
class WantedObject:
    kind: ObjectKind
    patient_id: str
    submission_id: str | None


@dataclass(frozen=True)
class RequestFacts:
    """All that the decision rests on, read from the database in one transaction."""

    purpose: KeyPurpose
    expired: bool
    objects: tuple[WantedObject, ...]
    requests_last_hour: int = 0
    process_enrolled: bool = False
    actor: Actor | None = None
    case: CaseFacts | None = None
    submission_id: str | None = None
    ai_unavailable: bool = False
    ehr_client: EhrClient | None = None
    holds_lease: bool = False
    research_permitted: bool = False


def refusal(facts: RequestFacts) -> str | None:
    """Why the request is refused, or None when the keys may be released."""
    return _formal_refusal(facts) or _refusal_for_purpose(facts)


def _formal_refusal(facts: RequestFacts) -> str | None:
    if facts.expired:
        return "the request is too old"
    if not facts.objects:
        return "no object was named"
    if facts.purpose is not KeyPurpose.VIEW and not facts.process_enrolled:
        return "the process is not enrolled"
    return None


def _refusal_for_purpose(facts: RequestFacts) -> str | None:
    if facts.purpose is KeyPurpose.SCREENING:
        return _screening_refusal(facts)
    if facts.purpose is KeyPurpose.TRAINING:
        return _training_refusal(facts)
    if facts.requests_last_hour > HOURLY_CAP:
        return "too many requests in one hour"
    if facts.purpose is KeyPurpose.EHR:
        return _ehr_refusal(facts)
    if facts.purpose is KeyPurpose.TEXT and any(one.kind in _PICTURES for one in facts.objects):
        return "the web process opens no picture"
    return _person_refusal(facts)


def _screening_refusal(facts: RequestFacts) -> str | None:
    if not facts.holds_lease:
        return "the worker does not hold this submission"
    wanted = {ObjectKind.PHOTO, ObjectKind.HISTORY}
    if any(one.kind not in wanted or not _belongs(one, facts) for one in facts.objects):
        return "the object is not part of the submission's input"
    return None


def _training_refusal(facts: RequestFacts) -> str | None:
    """Without the hourly cap: to open every permitted case at once is what an export is for."""
    if facts.actor is None:
        return "the login session has ended"
    if facts.case is None or not may(facts.actor, Permission.EXPORT_FOR_TRAINING, facts.case):
        return "only an administrator exports, and signed cases of the own clinic only"
    if not facts.research_permitted:
        return "the patient does not permit research"
    wanted = {ObjectKind.RENDITION, ObjectKind.HISTORY}
    if any(one.kind not in wanted or not _belongs(one, facts) for one in facts.objects):
        return "the object is not part of a training case"
    return None


def _ehr_refusal(facts: RequestFacts) -> str | None:
    if facts.case is None or facts.ehr_client is None:
        return "the client is not registered, or names no case"
    if not may(facts.ehr_client, Permission.READ_SIGNED_REPORTS, facts.case):
        return "a client reads signed cases of its own clinic only, within its scopes"
    wanted = {ObjectKind.IDENTITY, ObjectKind.FINDING, ObjectKind.LETTER}
    if any(one.kind not in wanted or not _belongs(one, facts) for one in facts.objects):
        return "the object is not part of a report"
    return None


def _person_refusal(facts: RequestFacts) -> str | None:
    if facts.actor is None:
        return "the login session has ended"
    for one in facts.objects:
        if not _person_may_open(facts.actor, one, facts):
            return f"{facts.actor.role} may not open {one.kind}"
    return None


def _person_may_open(actor: Actor, one: WantedObject, facts: RequestFacts) -> bool:
    if facts.case is None:
        own = actor.role is Role.PATIENT and actor.patient_id == one.patient_id
        return own and one.kind is ObjectKind.IDENTITY
    if not _belongs(one, facts):
        return False
    if actor.role is Role.PATIENT:
        needed = _PATIENT_NEEDS.get(one.kind)
    elif one.kind is ObjectKind.PHOTO and not facts.ai_unavailable:
        needed = None  # the original is shown only where no worker could make a clean rendition
    else:
        needed = _STAFF_NEEDS.get(one.kind)
    return needed is not None and may(actor, needed, facts.case)


_PATIENT_NEEDS = {
    ObjectKind.PHOTO: Permission.SEE_OWN_PHOTOS,
    ObjectKind.RENDITION: Permission.SEE_OWN_PHOTOS,
    ObjectKind.HISTORY: Permission.SEE_OWN_STATUS,
    ObjectKind.IDENTITY: Permission.SEE_OWN_STATUS,
    ObjectKind.LETTER: Permission.SEE_SIGNED_RESULT,
    ObjectKind.RETAKE: Permission.SEE_OWN_STATUS,
    ObjectKind.GP_LETTER: Permission.SEE_SIGNED_RESULT,
    ObjectKind.ATTACHMENT: Permission.SEE_SIGNED_RESULT,
    ObjectKind.MESSAGE: Permission.EXCHANGE_MESSAGES,
}

_STAFF_NEEDS = {
    ObjectKind.PHOTO: Permission.SEE_PHOTOS,
    ObjectKind.RENDITION: Permission.SEE_PHOTOS,
    ObjectKind.HEATMAP: Permission.SEE_COMPUTER_VIEW,
    ObjectKind.HISTORY: Permission.SEE_CASE,
    ObjectKind.IDENTITY: Permission.SEE_CASE,
    ObjectKind.FINDING: Permission.SEE_OPINIONS,
    ObjectKind.LETTER: Permission.SEE_OPINIONS,
    ObjectKind.RETAKE: Permission.SEE_CASE,
    ObjectKind.DRAFT: Permission.WRITE_DRAFT,
    ObjectKind.GP_LETTER: Permission.SEE_OPINIONS,
    ObjectKind.ATTACHMENT: Permission.READ_CASE,
    ObjectKind.PATHOLOGY: Permission.READ_CASE,
    ObjectKind.QUESTION: Permission.SEE_CASE,
    ObjectKind.NOTE: Permission.SEE_OPINIONS,
    ObjectKind.MESSAGE: Permission.EXCHANGE_MESSAGES,
}


def _belongs(one: WantedObject, facts: RequestFacts) -> bool:
    if one.kind is ObjectKind.IDENTITY:
        return facts.case is not None and one.patient_id == facts.case.patient_id
    return one.submission_id is not None and one.submission_id == facts.submission_id


def enrolment_mac(secret: bytes, *, process_id: str, program: str, public_key: bytes) -> str:
    """HMAC-SHA256, hex: proves that whoever wrote the process's row knew the enrolment secret."""
    message = f"dermqueue enrolment\0{process_id}\0{program}\0".encode() + public_key
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
