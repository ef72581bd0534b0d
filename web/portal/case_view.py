"""What a case's page shows, as plain values: rows in, words out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from clinic.intake import History, urgent_reasons
from clinic.records.models import (
    FirstRead,
    ScreeningResult,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.submission import ScreeningState
from clinic.terminology import LESION_CLASSES
from ml.labels import MALIGNANT
from ml.quality_flag import FLAG_WORDS, QualityFlag
from ml.triage import SET_LEVEL
from web.portal.forms import (
    AGREEMENTS,
    CONFIDENCES,
    DIAGNOSIS_GROUPS,
    IMAGE_QUALITIES,
    OVERRIDE_REASONS,
    PLANS,
    DecisionForm,
)
from web.portal.wording import (
    VIEW_LABELS,
    class_name,
    probability_rows,
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


def photos(rows: Sequence[SealedObject]) -> list[dict[str, str]]:
    return [
        {"view": row.view or "close_up", "label": VIEW_LABELS.get(row.view or "", "Photo")}
        for row in rows
    ]


def first_read(row: FirstRead) -> dict[str, Any]:
    return {
        "impression_label": dict(DIAGNOSIS_GROUPS)[row.impression],
        "confidence": dict(CONFIDENCES)[row.confidence],
        "recorded_at": row.recorded_at,
    }


def computer(result: ScreeningResult, read: FirstRead | None) -> dict[str, Any] | None:
    """The computer's view; None where no analysis was made."""
    if result.probabilities is None:
        return None
    top = max(result.probabilities, key=lambda label: (result.probabilities or {})[label])
    return {
        "probabilities": probability_rows(result.probabilities),
        "set_words": _set_words(result.prediction_sets or {}),
        "reasons": result.reasons,
        "warnings": _warnings(result),
        "explained_label": class_name(result.explained_class or top),
        "heatmap_words": "Green and yellow mark what spoke for this class.",
        "agreement_words": _agreement(top, read),
        "model_version": result.model_version,
        "fingerprint": result.model_fingerprint or "",
    }


def _set_words(sets: Mapping[str, Sequence[str]]) -> str:
    """The classes that hold the true one in most cases; empty for results of older models."""
    if SET_LEVEL not in sets:
        return ""
    names = ", ".join(class_name(label) for label in sets[SET_LEVEL])
    return f"In {round(100 * float(SET_LEVEL))} of 100 cases the true class is among: {names}."


def _warnings(result: ScreeningResult) -> list[str]:
    found = [f"Image quality: {FLAG_WORDS[QualityFlag(flag)]}." for flag in result.quality_flags]
    if result.analysed_view != "dermoscopic":
        found.append(
            "The networks learned from photos through a skin lens; this one was taken without."
        )
    return found


def _agreement(top: str, read: FirstRead | None) -> str:
    if read is None:
        return ""
    if read.impression == top:
        return "It agrees with your first read."
    risk = (read.impression in MALIGNANT) != (top in MALIGNANT)
    extra = " Benign and malignant differ: look again." if risk else ""
    return f"It differs from your first read.{extra}"


def computer_line(result: ScreeningResult | None) -> str:
    """One line for the signed record."""
    if result is None or result.probabilities is None:
        return "No computer's view was available for this case."
    probabilities = result.probabilities
    top = max(probabilities, key=lambda label: probabilities[label])
    percent = round(100 * probabilities[top])
    return f"{class_name(top)}, {percent} % (model {result.model_version})"


def icd10_suggestions() -> list[tuple[str, str]]:
    return [
        (target.icd10.code, target.icd10.display or one.display)
        for one in LESION_CLASSES.values()
        for target in one.targets
    ]


def retake_words(codes: Sequence[str]) -> str:
    """The request in fixed sentences; the reader's own words beside it are sealed."""
    sentences = [RETAKE_WORDS[code] for code in codes if RETAKE_WORDS.get(code)]
    return " ".join(sentences) or "Please take the photo again."


def decision_of_form(form: DecisionForm) -> list[tuple[str, str]]:
    values = {name: field.data or "" for name, field in form._fields.items()}
    return _decision(values)


def decision_of_report(report: SignedReport, finding: dict[str, Any]) -> list[tuple[str, str]]:
    return _decision(
        {
            "diagnosis": report.diagnosis,
            "diagnosis_text": finding.get("diagnosis_text", ""),
            "icd10_code": report.icd10cm,
            "confidence": report.confidence,
            "image_quality": report.image_quality,
            "plan": report.plan,
            "agreement": report.agreement,
            "override_reason": report.override_reason or "",
            "clinical_note": finding.get("clinical_note", ""),
        }
    )


def _decision(values: dict[str, str]) -> list[tuple[str, str]]:
    rows = [
        ("Diagnosis", values["diagnosis_text"] or dict(DIAGNOSIS_GROUPS)[values["diagnosis"]]),
        ("ICD-10-CM", values["icd10_code"]),
        ("Confidence", dict(CONFIDENCES)[values["confidence"]]),
        ("Image quality", dict(IMAGE_QUALITIES)[values["image_quality"]]),
        ("Plan", dict(PLANS)[values["plan"]]),
        ("Computer's view", dict(AGREEMENTS)[values["agreement"]]),
        ("Reason for the override", dict(OVERRIDE_REASONS).get(values["override_reason"], "")),
        ("Clinical note", values["clinical_note"]),
    ]
    return [(name, words) for name, words in rows if words]
