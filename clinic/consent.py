"""Consent by purpose: what a patient may permit, for how long, and when a decision is in force.

A decision is never changed, only followed by another one. The newest of a purpose counts; without
any, or outside of its period, nothing is permitted (GDPR 6, 7 and 9).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Purpose(StrEnum):
    CARE = "care"
    TELEDERMATOLOGY = "teledermatology"
    AI_ASSISTANCE = "ai_assistance"
    RESEARCH = "research"
    TEACHING = "teaching"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    Purpose.CARE: "Care by this clinic",
    Purpose.TELEDERMATOLOGY: "A skin doctor looks at photos",
    Purpose.AI_ASSISTANCE: "A computer helps to sort",
    Purpose.RESEARCH: "Research",
    Purpose.TEACHING: "Teaching",
}

# Without these two nothing may be sent, and the computer sorts nothing.
FOR_CARE = frozenset({Purpose.CARE, Purpose.TELEDERMATOLOGY})
TEXT_VERSION = "2026-11.2"  # of the words on the form that a patient agrees to
YEARS = (1, 2, 5, 10)  # for so many a patient may limit a consent


@dataclass(frozen=True)
class ConsentDecision:
    """What a patient decided on one purpose; `valid_until` None has no end."""

    purpose: Purpose
    permitted: bool
    valid_until: datetime | None = None


def in_force(*, permitted: bool, valid_until: datetime | None, at: datetime) -> bool:
    """Whether the newest decision permits at this moment: one holds from when it was made."""
    return permitted and (valid_until is None or at < valid_until)
