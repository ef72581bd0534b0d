"""Who touched a patient's record, what they did and why, in the patient's own words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.fhir_audit_event import EHR_PREFIX
from clinic.records.models import Account, AuditEntry, EhrClient
from web.database import db
from web.guard import me

SAME_VISIT = timedelta(minutes=15)

_CARE = "to give you a result"
_OWN = "you asked for it"
_LAW = "the law asks for it"
_WORDS: dict[AuditAction, tuple[str, str]] = {
    AuditAction.CASE_LISTED: ("saw your case in the queue", _CARE),
    AuditAction.CASE_READ: ("read your case", _CARE),
    AuditAction.OBJECT_FETCHED: ("opened a picture", _CARE),
    AuditAction.CASE_CLAIMED: ("took your case to read it", _CARE),
    AuditAction.CASE_RELEASED: ("gave your case to a colleague", _CARE),
    AuditAction.CASE_HANDED_OVER: ("handed your case to a colleague", _CARE),
    AuditAction.CASE_ESCALATED: ("reminded the clinic of your date", _CARE),
    AuditAction.LETTER_POSTED: ("sent your result by post", _CARE),
    AuditAction.CASE_SIGNED: ("signed your result", _CARE),
    AuditAction.REPORT_CHANGED: ("changed your result", _CARE),
    AuditAction.ATTACHMENT_ADDED: ("added a file to your case", _CARE),
    AuditAction.ATTACHMENT_REMOVED: ("took a file off your case", _CARE),
    AuditAction.ATTACHMENT_READ: ("opened a file of your case", _CARE),
    AuditAction.PATHOLOGY_RECORDED: ("wrote down the result of your skin test", _CARE),
    AuditAction.FIRST_READ_RECORDED: ("wrote down a first impression", _CARE),
    AuditAction.SECOND_READ_ASKED: ("asked a second doctor to look", _CARE),
    AuditAction.SIGNATURE_HELD: ("let a second doctor look first", _CARE),
    AuditAction.SECOND_READ_TAKEN: ("took your case as a second doctor", _CARE),
    AuditAction.SECOND_READ_GIVEN_BACK: ("left your case to another second doctor", _CARE),
    AuditAction.SECOND_READ_RECORDED: ("wrote down a second opinion", _CARE),
    AuditAction.SECOND_READ_WITHDRAWN: ("asked no second doctor any more", _CARE),
    AuditAction.MESSAGES_READ: ("read the messages", _CARE),
    AuditAction.MESSAGE_SENT: ("wrote a message", _CARE),
    AuditAction.REPORT_TAKEN_OVER: ("took on your case from a doctor who left", _CARE),
    AuditAction.MESSAGES_TAKEN_OVER: ("took on answering your messages", _CARE),
    AuditAction.MESSAGES_NEED_NO_ANSWER: ("saw no need to answer your messages", _CARE),
    AuditAction.NOTE_WRITTEN: ("wrote a note for colleagues", _CARE),
    AuditAction.SUBMISSION_RECEIVED: ("sent photos", _CARE),
    AuditAction.SUBMISSION_SCREENED: ("sorted your photos", "to see who needs a fast answer"),
    AuditAction.SCREENING_RETRIED: ("had your photos sorted once more", _CARE),
    AuditAction.RETAKE_REQUESTED: ("asked for new photos", _CARE),
    AuditAction.PHOTOS_REPLACED: ("sent new photos", _CARE),
    AuditAction.RESULT_READ: ("read the result", _OWN),
    AuditAction.STATUS_READ: ("looked at the status", _OWN),
    AuditAction.ACCOUNT_READ: ("looked at the account", _OWN),
    AuditAction.LANGUAGE_CHANGED: ("chose a language", _OWN),
    AuditAction.CONSENT_RECORDED: ("changed what is agreed to", _OWN),
    AuditAction.RECORD_EXPORTED: ("downloaded the whole record", _OWN),
    AuditAction.ERASURE_ASKED: ("asked to erase the record", _OWN),
    AuditAction.ERASURE_WITHDRAWN: ("took back the wish to erase", _OWN),
    AuditAction.ERASURES_LISTED: ("looked at your wish to erase", _LAW),
    AuditAction.ERASURE_REFUSED: ("answered your wish to erase", _LAW),
    AuditAction.EMERGENCY_ACCESS: ("opened your case, two people together", "an emergency"),
    AuditAction.EHR_READ: ("received your signed result", "for your care elsewhere"),
    AuditAction.CASE_EXPORTED: (
        "copied your photos without your name",
        "for research, as you agreed",
    ),
    AuditAction.ACCESS_DENIED: ("tried to open your record and was refused", "we do not know"),
}
_PROGRAMS = {
    "worker": ("The computer", "program of the clinic"),
    "reconciler": ("The computer", "program of the clinic"),
    "keeper": ("The key service", "program of the clinic"),
}
_ROLES = {Role.ADMINISTRATOR: "clinic administrator", Role.DERMATOLOGIST: "skin doctor"}


@dataclass(frozen=True)
class AccessLine:
    """One act, or the same act of one person within minutes, `times` over."""

    at: datetime
    who: str
    role: str
    action: str
    why: str
    allowed: bool
    times: int = 1


def access_lines(entries: Iterable[AuditEntry]) -> Iterator[AccessLine]:
    """Those entries that a patient can make sense of."""
    for entry in entries:
        words = _WORDS.get(AuditAction(entry.action))
        if words is not None:
            who, role = _who(entry.actor)
            yield AccessLine(entry.at, who, role, *words, allowed=entry.allowed)


def gathered(lines: Iterable[AccessLine]) -> list[AccessLine]:
    """The same act by the same person within minutes is one line with a count."""
    shown: list[AccessLine] = []
    for line in lines:
        last = shown[-1] if shown else None
        if last is not None and _is_same_visit(last, line):
            shown[-1] = replace(last, times=last.times + 1)
        else:
            shown.append(line)
    return shown


def _is_same_visit(last: AccessLine, line: AccessLine) -> bool:
    same = (last.who, last.action) == (line.who, line.action)
    return same and last.at - line.at < SAME_VISIT


def _who(actor: str) -> tuple[str, str]:
    if actor in _PROGRAMS:
        return _PROGRAMS[actor]
    if actor == me().actor.user_id:
        return "You", "patient"
    if actor.startswith(EHR_PREFIX):
        system = db.session.get(EhrClient, actor.removeprefix(EHR_PREFIX))
        return system.name if system else "A record system of your care", "registered system"
    account = db.session.get(Account, actor)
    if account is None or account.family_name is None:
        return "A member of the clinic", _role(account) if account else "staff"
    return f"{account.given_name} {account.family_name}", _role(account)


def _role(account: Account) -> str:
    return _ROLES.get(Role(account.role), account.role)
