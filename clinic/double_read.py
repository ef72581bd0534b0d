"""Which cases a second dermatologist reads, and what two opinions that differ lead to.

A second read comes before the letter leaves where the case itself gives cause for doubt and the
plan would end the patient's care here: nobody else would look at the lesion again. Otherwise it
comes afterwards, as an audit, so that nobody waits for it.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ml.labels import MALIGNANT

# Plans after which no dermatologist looks at the lesion again.
ENDS_HERE: Final = frozenset({"benign_advice", "gp_plan"})
DARK_SKIN: Final = frozenset({"V", "VI"})


class ReadReason(StrEnum):
    """Why a second read was asked for."""

    ASKED = "asked"
    DISAGREEMENT = "disagreement"  # of the first read and the computer, on malignancy
    SKIN_TONE = "skin tone"
    SAMPLE = "sample"
    ADJUDICATION = "adjudication"


class ReadState(StrEnum):
    OPEN = "open"
    READ = "read"
    WITHDRAWN = "withdrawn"


class ConsensusPath(StrEnum):
    AGREED = "agreed"  # the same diagnosis
    SAME_RISK = "same risk"  # another diagnosis, but nothing that would change what is done
    ADJUDICATED = "adjudicated"


@dataclass(frozen=True)
class Opinion:
    """What one reader thinks: the group of the likeliest diagnosis, and the plan."""

    diagnosis: str
    plan: str

    @property
    def malignant(self) -> bool:
        return self.diagnosis in MALIGNANT

    @property
    def ends_here(self) -> bool:
        return self.plan in ENDS_HERE


@dataclass(frozen=True)
class Rule:
    """A clinic's own choice. `benign_share`: of the cases that end here with a benign diagnosis."""

    benign_share: float = 0.05
    skin_tone: bool = True
    disagreement: bool = True


@dataclass(frozen=True)
class DecidedCase:
    """A case as its reader is about to sign it; `computer` is its likeliest class, if there is one.

    `skin_type` is the patient's own word (Fitzpatrick I to VI); None where it is not known.
    """

    case_id: str
    skin_type: str | None
    first_read: str
    computer: str | None
    decision: Opinion


@dataclass(frozen=True)
class Wanted:
    """A second read that the rule asks for; `holds` means before the letter leaves."""

    reason: ReadReason
    holds: bool


def wanted(case: DecidedCase, rule: Rule, *, key: bytes) -> Wanted | None:
    """The first cause that applies; one second read answers them all."""
    ends_here = case.decision.ends_here
    if rule.disagreement and _computer_differs(case):
        return Wanted(ReadReason.DISAGREEMENT, holds=ends_here)
    if rule.skin_tone and case.skin_type in DARK_SKIN:
        return Wanted(ReadReason.SKIN_TONE, holds=ends_here)
    benign = ends_here and not case.decision.malignant
    if benign and is_drawn(case.case_id, share=rule.benign_share, key=key):
        return Wanted(ReadReason.SAMPLE, holds=False)
    return None


def _computer_differs(case: DecidedCase) -> bool:
    if case.computer is None:
        return False
    return (case.first_read in MALIGNANT) != (case.computer in MALIGNANT)


def is_drawn(case_id: str, *, share: float, key: bytes) -> bool:
    """Whether the sample holds this case: nobody without the key can know it beforehand.

    The first 64 bits of HMAC-SHA256 (RFC 2104) over the case's id, read as a fraction of 1, are
    below `share`. So each case is drawn with that probability, and always the same way.
    """
    mac = hmac.new(key, f"dermqueue double read\0{case_id}".encode(), hashlib.sha256).digest()
    return int.from_bytes(mac[:8], "big") < share * 2**64


def differs_in_risk(first: Opinion, second: Opinion) -> bool:
    """Whether the two would do something else with the patient, or fear something else."""
    return (first.malignant, first.ends_here) != (second.malignant, second.ends_here)


def is_less_careful(decision: Opinion, other: Opinion) -> bool:
    """Whether the decision ends a case that the other reader would not let go."""
    if not decision.ends_here:
        return False
    return not other.ends_here or (other.malignant and not decision.malignant)


def needs_third(decision: Opinion, others: Sequence[Opinion]) -> bool:
    """Whether a third reader decides before the letter leaves."""
    return any(is_less_careful(decision, one) for one in others)


def consensus_of_two(first: Opinion, second: Opinion) -> ConsensusPath | None:
    """How two readers agree; None where a third one is needed."""
    if differs_in_risk(first, second):
        return None
    same = first.diagnosis == second.diagnosis
    return ConsensusPath.AGREED if same else ConsensusPath.SAME_RISK
