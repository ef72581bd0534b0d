"""Who may do what: the one policy function. What is not allowed here is denied."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from clinic.ehr_client import EhrClient, grants, grants_something


class Role(StrEnum):
    PATIENT = "patient"
    DERMATOLOGIST = "dermatologist"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


STAFF = frozenset(Role) - {Role.PATIENT}


class Permission(StrEnum):
    KEEP_OWN_RECORD = "keep own record"
    SEND_SUBMISSION = "send submission"
    SEE_OWN_STATUS = "see own status"
    SEE_OWN_PHOTOS = "see own photos"
    SEE_PHOTOS = "see photos"
    REPLACE_PHOTOS = "replace photos"
    ASK_FOR_PICTURES = "ask for pictures"
    SEE_QUEUE = "see queue"
    SEE_IN_QUEUE = "see in queue"
    READ_CASE = "read case"
    SEE_CASE = "see case"
    SEE_OPINIONS = "see opinions"
    EXCHANGE_MESSAGES = "exchange messages"
    SEE_COMPUTER_VIEW = "see computer view"
    WRITE_DRAFT = "write draft"
    SIGN = "sign"
    SEE_READING = "see how cases were read"
    CHANGE_REPORT = "change report"
    TAKE_OVER_REPORT = "take over report"
    ADD_PATHOLOGY = "add pathology"
    SEE_SIGNED_RESULT = "see signed result"
    SEE_OPERATIONS = "see operations"
    OPERATE = "operate"
    RETRY_SCREENING = "retry screening"
    MANAGE_PEOPLE = "manage people"
    DECIDE_ON_ERASURE = "decide on erasure"
    SET_SERVICE_TIMES = "set service times"
    SEARCH_AUDIT = "search audit"
    EXPORT_FOR_TRAINING = "export for training"
    READ_SIGNED_REPORTS = "read signed reports"


@dataclass(frozen=True)
class Actor:
    """A signed-in person."""

    user_id: str
    role: Role
    clinic_id: str
    patient_id: str | None = None


@dataclass(frozen=True)
class SecondReader:
    """Somebody who is at a second read of a case now; `done` once their own opinion is stored."""

    user_id: str
    blind: bool
    done: bool


@dataclass(frozen=True)
class CaseFacts:
    """What the policy needs to know of one submission.

    `compared_by`: who reads a later case of the same patient at the same body site now;
    `keeper_left`: nobody at work has the case, so that a signed one waits for a new keeper.
    """

    patient_id: str
    clinic_id: str
    claimed_by: str | None
    first_read_by: str | None
    signed: bool
    compared_by: frozenset[str] = frozenset()
    second_readers: tuple[SecondReader, ...] = ()
    photos_asked_by: str | None = None  # while the patient is waited for
    keeper_left: bool = False


def may(
    actor: Actor | EhrClient,
    permission: Permission,
    case: CaseFacts | None = None,
    *,
    scope: str | None = None,
) -> bool:
    """Whether `actor` may do `permission`, on `case` where one is meant.

    `scope` is what a record system's token must grant besides; nobody else has scopes.
    """
    if case is not None and case.clinic_id != actor.clinic_id:
        return False
    if isinstance(actor, EhrClient):
        return permission is Permission.READ_SIGNED_REPORTS and _record_system_may(
            actor, case, scope
        )
    if scope is not None:
        return False
    if case is None:
        return permission in _WITHOUT_CASE[actor.role]
    rule = _ON_A_CASE[actor.role].get(permission)
    return rule is not None and rule(actor, case)


def _record_system_may(client: EhrClient, case: CaseFacts | None, scope: str | None) -> bool:
    granted = grants_something(client.scopes) if scope is None else grants(client.scopes, scope)
    return granted and (case is None or case.signed)


_WITHOUT_CASE: dict[Role, frozenset[Permission]] = {
    Role.PATIENT: frozenset(
        {Permission.KEEP_OWN_RECORD, Permission.SEND_SUBMISSION, Permission.ASK_FOR_PICTURES}
    ),
    Role.DERMATOLOGIST: frozenset(
        {Permission.SEE_QUEUE, Permission.ASK_FOR_PICTURES, Permission.SEE_READING}
    ),
    Role.ADMINISTRATOR: frozenset(
        {
            Permission.SEE_OPERATIONS,
            Permission.SEE_READING,
            Permission.OPERATE,
            Permission.MANAGE_PEOPLE,
            Permission.DECIDE_ON_ERASURE,
            Permission.SET_SERVICE_TIMES,
        }
    ),
    Role.AUDITOR: frozenset({Permission.SEE_OPERATIONS, Permission.SEARCH_AUDIT}),
}


def _owns(actor: Actor, case: CaseFacts) -> bool:
    return actor.patient_id == case.patient_id


def _owns_unsigned(actor: Actor, case: CaseFacts) -> bool:
    return _owns(actor, case) and not case.signed


def _owns_signed(actor: Actor, case: CaseFacts) -> bool:
    return _owns(actor, case) and case.signed


def _works_here(_actor: Actor, _case: CaseFacts) -> bool:
    return True


def _holds(actor: Actor, case: CaseFacts) -> bool:
    return case.claimed_by == actor.user_id


def _sees_photos(actor: Actor, case: CaseFacts) -> bool:
    return _reads(actor, case) or actor.user_id in case.compared_by


def _reads(actor: Actor, case: CaseFacts) -> bool:
    return _holds(actor, case) or any(one.user_id == actor.user_id for one in case.second_readers)


def _sees_opinions(actor: Actor, case: CaseFacts) -> bool:
    """A blind second reader sees what others think once their own opinion is stored."""
    return _holds(actor, case) or any(
        one.user_id == actor.user_id and (one.done or not one.blind) for one in case.second_readers
    )


def _answers_messages(actor: Actor, case: CaseFacts) -> bool:
    return _holds(actor, case) or case.photos_asked_by == actor.user_id


def _has_read_blind(actor: Actor, case: CaseFacts) -> bool:
    """Everybody who reads stores an own opinion before the computer's view, second readers too."""
    if _holds(actor, case):
        return case.first_read_by == actor.user_id or case.signed
    return any(one.user_id == actor.user_id and one.done for one in case.second_readers)


def _may_sign(actor: Actor, case: CaseFacts) -> bool:
    return _holds(actor, case) and case.first_read_by == actor.user_id and not case.signed


def _decides(actor: Actor, case: CaseFacts) -> bool:
    """Whoever signs this case, or signed it and may change the report."""
    return _may_sign(actor, case) or _holds_signed(actor, case)


def _holds_signed(actor: Actor, case: CaseFacts) -> bool:
    return _holds(actor, case) and case.signed


def _lost_its_keeper(_actor: Actor, case: CaseFacts) -> bool:
    return case.signed and case.keeper_left


def _nobody_is_at_it(_actor: Actor, case: CaseFacts) -> bool:
    return not case.signed and case.claimed_by is None


def _is_closed(_actor: Actor, case: CaseFacts) -> bool:
    return case.signed


_ON_A_CASE: dict[Role, dict[Permission, Callable[[Actor, CaseFacts], bool]]] = {
    Role.PATIENT: {
        Permission.SEE_OWN_STATUS: _owns,
        Permission.SEE_OWN_PHOTOS: _owns,
        Permission.EXCHANGE_MESSAGES: _owns,
        Permission.REPLACE_PHOTOS: _owns_unsigned,
        Permission.SEE_SIGNED_RESULT: _owns_signed,
    },
    Role.DERMATOLOGIST: {
        Permission.SEE_IN_QUEUE: _works_here,
        Permission.READ_CASE: _holds,
        Permission.SEE_PHOTOS: _sees_photos,
        Permission.SEE_CASE: _reads,
        Permission.SEE_OPINIONS: _sees_opinions,
        Permission.EXCHANGE_MESSAGES: _answers_messages,
        Permission.SEE_COMPUTER_VIEW: _has_read_blind,
        Permission.WRITE_DRAFT: _decides,
        Permission.SIGN: _may_sign,
        Permission.CHANGE_REPORT: _holds_signed,
        Permission.TAKE_OVER_REPORT: _lost_its_keeper,
        Permission.ADD_PATHOLOGY: _is_closed,
    },
    Role.ADMINISTRATOR: {
        Permission.RETRY_SCREENING: _nobody_is_at_it,
        Permission.EXPORT_FOR_TRAINING: _is_closed,
    },
    Role.AUDITOR: {},
}
