"""Who may do what: the one policy function. What is not allowed here is denied."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    PATIENT = "patient"
    DERMATOLOGIST = "dermatologist"
    ADMINISTRATOR = "administrator"


STAFF = frozenset({Role.DERMATOLOGIST, Role.ADMINISTRATOR})


class Permission(StrEnum):
    SEND_SUBMISSION = "send submission"
    SEE_OWN_STATUS = "see own status"
    SEE_OWN_PHOTOS = "see own photos"
    REPLACE_PHOTOS = "replace photos"
    SEE_QUEUE = "see queue"
    SEE_IN_QUEUE = "see in queue"
    READ_CASE = "read case"
    SEE_COMPUTER_VIEW = "see computer view"
    SIGN = "sign"
    SEE_SIGNED_RESULT = "see signed result"
    OPERATE = "operate"
    RETRY_SCREENING = "retry screening"
    SEARCH_AUDIT = "search audit"
    EXPORT_FOR_TRAINING = "export for training"


@dataclass(frozen=True)
class Actor:
    """A signed-in person."""

    user_id: str
    role: Role
    clinic_id: str
    patient_id: str | None = None


@dataclass(frozen=True)
class CaseFacts:
    """What the policy needs to know of one submission."""

    patient_id: str
    clinic_id: str
    claimed_by: str | None
    first_read_by: str | None
    signed: bool


_WITHOUT_CASE: dict[Role, frozenset[Permission]] = {
    Role.PATIENT: frozenset({Permission.SEND_SUBMISSION}),
    Role.DERMATOLOGIST: frozenset({Permission.SEE_QUEUE}),
    Role.ADMINISTRATOR: frozenset({Permission.OPERATE, Permission.SEARCH_AUDIT}),
}


def may(actor: Actor, permission: Permission, case: CaseFacts | None = None) -> bool:
    """Whether `actor` may do `permission`, on `case` where one is meant."""
    if case is None:
        return permission in _WITHOUT_CASE[actor.role]
    if actor.clinic_id != case.clinic_id:
        return False
    if actor.role is Role.PATIENT:
        return actor.patient_id == case.patient_id and _patient_may(permission, case)
    if actor.role is Role.DERMATOLOGIST:
        return _dermatologist_may(actor.user_id, permission, case)
    return _administrator_may(permission, case)


def _administrator_may(permission: Permission, case: CaseFacts) -> bool:
    if permission is Permission.RETRY_SCREENING:
        return not case.signed and case.claimed_by is None
    return permission is Permission.EXPORT_FOR_TRAINING and case.signed


def _patient_may(permission: Permission, case: CaseFacts) -> bool:
    if permission is Permission.SEE_SIGNED_RESULT:
        return case.signed
    if permission is Permission.REPLACE_PHOTOS:
        return not case.signed
    return permission in {Permission.SEE_OWN_STATUS, Permission.SEE_OWN_PHOTOS}


def _dermatologist_may(user_id: str, permission: Permission, case: CaseFacts) -> bool:
    owns = case.claimed_by == user_id
    if permission is Permission.SEE_IN_QUEUE:
        return True
    if permission is Permission.READ_CASE:
        return owns
    if permission is Permission.SEE_COMPUTER_VIEW:
        return owns and (case.first_read_by == user_id or case.signed)
    if permission is Permission.SIGN:
        return owns and case.first_read_by == user_id and not case.signed
    return False
