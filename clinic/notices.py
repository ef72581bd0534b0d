"""Notices to people: which there are, their words, and the channel that carries them.

They are about an account, or tell staff that work waits. None says anything about health, or more
of a person than that they have an account here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class NoticeKind(StrEnum):
    NEW_DEVICE = "new device"
    PASSWORD_CHANGED = "password changed"  # noqa: S105 - a kind, not a password
    FACTOR_ADDED = "factor added"
    FACTOR_REMOVED = "factor removed"
    RECOVERY_CODE_USED = "recovery code used"
    EMAIL_CHANGED = "email changed"  # to the address that was left
    PASSWORD_RESET = "password reset"  # noqa: S105 - carries a link, as do the next two
    EMAIL_CHANGE = "email change"
    REGISTRATION = "registration"
    ADDRESS_TAKEN = "address taken"  # in place of the two above; never written by itself
    CASES_NEARLY_DUE = "cases nearly due"
    CASES_OVERDUE = "cases overdue"
    CASE_HANDED_OVER = "case handed over"
    NEWS = "news"  # there is something new to read in the account
    CASE_MESSAGE = "case message"


@dataclass(frozen=True)
class Message:
    """What a channel carries: plain text."""

    subject: str
    text: str


class DeliveryError(Exception):
    """The channel did not take the message now; the reason holds neither address nor text."""


class Channel(Protocol):
    def deliver(self, address: str, message: Message) -> None:
        """Hand the message over for this address.

        Raises:
            DeliveryError: try again later.

        """


_SUBJECTS = {
    NoticeKind.NEW_DEVICE: "New sign-in to your account",
    NoticeKind.PASSWORD_CHANGED: "Your password was changed",
    NoticeKind.FACTOR_ADDED: "A second step was added to your account",
    NoticeKind.FACTOR_REMOVED: "A second step was removed from your account",
    NoticeKind.RECOVERY_CODE_USED: "A recovery code was used",
    NoticeKind.EMAIL_CHANGED: "Your email address was changed",
    NoticeKind.PASSWORD_RESET: "Choose a new password",
    NoticeKind.EMAIL_CHANGE: "Confirm your new email address",
    NoticeKind.REGISTRATION: "Go on with your account",
    NoticeKind.ADDRESS_TAKEN: "You have an account already",
    NoticeKind.CASES_NEARLY_DUE: "Work is nearly due",
    NoticeKind.CASES_OVERDUE: "Work is past due",
    NoticeKind.CASE_HANDED_OVER: "A colleague handed work over to you",
    NoticeKind.NEWS: "There is something new for you",
    NoticeKind.CASE_MESSAGE: "You have a message",
}

_BODIES = {
    NoticeKind.NEW_DEVICE: "Somebody signed in to your account in a browser that we had not "
    "seen before.",
    NoticeKind.PASSWORD_CHANGED: "The password of your account was changed. All other browsers "
    "were signed out.",
    NoticeKind.FACTOR_ADDED: "A passkey or an app for codes was added to your account.",
    NoticeKind.FACTOR_REMOVED: "A passkey or an app for codes was removed from your account.",
    NoticeKind.RECOVERY_CODE_USED: "Somebody signed in to your account with a recovery code.",
    NoticeKind.EMAIL_CHANGED: "Your account now has another email address. We write to this one "
    "for the last time.",
    NoticeKind.PASSWORD_RESET: "Somebody asked for a new password for your account. Open this "
    "link to choose one. It works once, for 30 minutes.",
    NoticeKind.EMAIL_CHANGE: "Open this link to use this address for your account. It works once, "
    "for 30 minutes.",
    NoticeKind.REGISTRATION: "Open this link to make your account. It works once, for 2 hours.",
    NoticeKind.ADDRESS_TAKEN: "Somebody wanted to make or change an account with this address. "
    "It has one already. You can sign in, or ask for a new password there.",
    NoticeKind.CASES_NEARLY_DUE: "Work in your clinic is close to its time limit. Sign in to see "
    "it.",
    NoticeKind.CASES_OVERDUE: "Work in your clinic has passed its time limit. Sign in to see it.",
    NoticeKind.CASE_HANDED_OVER: "A colleague handed work over to you. Sign in to see it. It goes "
    "back to all if nobody takes it up.",
    NoticeKind.NEWS: "There is something new in your account. Sign in to read it.",
    NoticeKind.CASE_MESSAGE: "There is a message for you. Sign in to read it.",
}

_ASKED_FOR = frozenset(
    {
        NoticeKind.PASSWORD_RESET,
        NoticeKind.EMAIL_CHANGE,
        NoticeKind.REGISTRATION,
        NoticeKind.ADDRESS_TAKEN,
    }
)
_ABOUT_WORK = frozenset(
    {NoticeKind.CASES_NEARLY_DUE, NoticeKind.CASES_OVERDUE, NoticeKind.CASE_HANDED_OVER}
)
_NOT_ASKED = "Was it not you? Then you need to do nothing."
_DONE_ALREADY = "Is it done already? Then you need to do nothing."
_URGENT = "Do you need help at once? Call us: {phone}."
_QUESTIONS = "Do you have questions? Call us: {phone}."
_NOT_YOU = "Was it you? Then you need to do nothing. If not, call us at once: {phone}."


def _after(kind: NoticeKind) -> str:
    if kind is NoticeKind.CASE_MESSAGE:
        return _URGENT
    if kind is NoticeKind.NEWS:
        return _QUESTIONS
    if kind in _ABOUT_WORK:
        return _DONE_ALREADY
    return _NOT_ASKED if kind in _ASKED_FOR else _NOT_YOU


def message(kind: NoticeKind, *, clinic_name: str, phone: str, link: str | None) -> Message:
    """The words of a notice, for people who may share their mailbox with others."""
    after = _after(kind).format(phone=phone)
    parts = ["Hello,", _BODIES[kind], *([link] if link else []), after, clinic_name]
    return Message(f"{_SUBJECTS[kind]} - DermQueue", "\n\n".join(parts) + "\n")
