"""What pages show of second reads, as plain values: rows in, words out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from clinic.double_read import ConsensusPath, Opinion, ReadReason, ReadState, differs_in_risk
from clinic.records.models import Account, Consensus, SecondRead
from web.portal.desk_forms import PLANS
from web.portal.forms import CONFIDENCES, DIAGNOSIS_GROUPS

REASONS: Final = {
    ReadReason.ASKED: "A colleague asks for your opinion",
    ReadReason.DISAGREEMENT: "First read and computer differ on malignancy",
    ReadReason.SKIN_TONE: "Skin type V or VI: little evidence for the computer",
    ReadReason.SAMPLE: "Sample of benign results",
    ReadReason.ADJUDICATION: "Two readers differ: a third one decides",
}
PATHS: Final = {
    ConsensusPath.AGREED: "Two readers agree",
    ConsensusPath.SAME_RISK: "Two readers name different diagnoses, with the same consequence",
    ConsensusPath.ADJUDICATED: "A third reader decided",
}
_STATES: Final = {
    ReadState.OPEN: "waits",
    ReadState.READ: "answered",
    ReadState.WITHDRAWN: "withdrawn",
}


def name_of(account: Account | None) -> str:
    return f"{account.given_name} {account.family_name}" if account else ""


def diagnosis_words(code: str | None) -> str:
    return dict(DIAGNOSIS_GROUPS).get(code or "", code or "")


def plan_words(code: str | None) -> str:
    return dict(PLANS).get(code or "", code or "")


def request(row: SecondRead, people: Mapping[str, str], *, now: datetime) -> dict[str, Any]:
    """The wish for a second read; nothing of what anybody thinks."""
    return {
        "id": row.id,
        "case_id": row.submission_id,
        "reason": REASONS[ReadReason(row.reason)],
        "state": _STATES[ReadState(row.state)],
        "open": row.state == ReadState.OPEN,
        "blind": row.blind,
        "holds": row.holds,
        "asked_by": people.get(row.asked_by or "", ""),
        "asked_of": people.get(row.asked_of or "", ""),
        "asked_at": row.asked_at,
        "left": row.due_at - now,
        "reader": people.get(row.reader_id or "", "") if _is_at_it(row, now) else "",
    }


def _is_at_it(row: SecondRead, now: datetime) -> bool:
    if row.state == ReadState.READ:
        return True
    return row.reader_until is not None and row.reader_until > now


def opinion(row: SecondRead, note: str) -> dict[str, Any]:
    """What a second reader thinks, once it is recorded."""
    return {
        "differential": [diagnosis_words(one) for one in row.differential or ()],
        "confidence": dict(CONFIDENCES)[row.confidence or ""],
        "plan": plan_words(row.plan),
        "note": note,
        "read_at": row.read_at,
    }


def first_opinion(row: SecondRead) -> dict[str, str] | None:
    """What the case's own reader thought when this was asked for."""
    if row.first_diagnosis is None:
        return None
    return {
        "diagnosis": diagnosis_words(row.first_diagnosis),
        "plan": plan_words(row.first_plan),
    }


def consensus(row: Consensus, signed: Opinion | None) -> dict[str, Any]:
    """`differs`: the signed record says something else that matters, and should be amended."""
    settled = Opinion(row.diagnosis, row.plan)
    return {
        "path": PATHS[ConsensusPath(row.path)],
        "diagnosis": diagnosis_words(row.diagnosis),
        "plan": plan_words(row.plan),
        "recorded_at": row.recorded_at,
        "differs": signed is not None and differs_in_risk(signed, settled),
    }
