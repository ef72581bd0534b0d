"""What a case's page shows, as plain values: rows in, words out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from clinic.intake import History, urgent_reasons
from clinic.records.models import (
    FirstRead,
    ScreeningResult,
    Submission,
)
from clinic.submission import ScreeningState
from web.portal.forms import CONFIDENCES, DIAGNOSIS_GROUPS
from web.portal.wording import (
    reference,
    site_words,
    urgency_word,
)

RETAKE_WORDS: Final = {
    "blur": "The photo is not sharp. Tap on the spot to focus and hold still.",
    "too_dark": "The photo is too dark. Turn towards a window.",
    "too_bright": "The photo is too bright. Step out of the sun.",
    "glare": "There is a bright flash spot. Take it without flash.",
    "too_far": "The photo is from too far away. Go as near as 20 cm.",
    "not_centred": "The spot is not in the middle of the photo.",
    "no_scale": "Put a ruler or a coin next to the spot.",
    "covered": "Hair, make-up or a plaster covers the spot.",
    "other": "",
}


def case(
    row: Submission, result: ScreeningResult | None, *, site_detail: str, now: datetime
) -> dict[str, Any]:
    return {
        "id": row.id,
        "reference": reference(row.id),
        "urgency": urgency_word(row.urgency),
        "site": site_words(row),
        "site_detail": site_detail,
        "sent_at": row.received_at,
        "due_at": row.due_at,
        "left": row.due_at - now,
        "told_by": row.told_by,
        "told_at": row.told_at,
        "state": row.case_state,
        "ai_state": ai_state(row, result),
    }


def ai_state(row: Submission, result: ScreeningResult | None) -> str:
    if not row.ai_permitted:
        return "not_permitted"
    if row.screening_state == ScreeningState.DEAD:
        return "unavailable"
    return "available" if result is not None and result.ai_used else "pending"


def rule_reasons(
    row: Submission, result: ScreeningResult | None, history: History | None
) -> list[str]:
    """What the rules say before the computer does; without a result they are asked here."""
    if result is not None:
        return result.rule_reasons
    said = list(urgent_reasons(history)) if history else []
    if row.screening_state != ScreeningState.DEAD:
        return said
    return [*said, f"AI unavailable: {row.last_failure}"]


def first_read(row: FirstRead) -> dict[str, Any]:
    return {
        "impression_label": dict(DIAGNOSIS_GROUPS)[row.impression],
        "alternatives": [dict(DIAGNOSIS_GROUPS)[one] for one in row.alternatives],
        "confidence": dict(CONFIDENCES)[row.confidence],
        "urgency": urgency_word(row.urgency),
        "recorded_at": row.recorded_at,
    }


def retake_words(codes: Sequence[str]) -> str:
    """The request in fixed sentences; the reader's own words beside it are sealed."""
    sentences = [RETAKE_WORDS[code] for code in codes if RETAKE_WORDS.get(code)]
    return " ".join(sentences) or "Please take the photo again."
