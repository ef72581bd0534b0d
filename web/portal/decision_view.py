"""A decision in words, for its preview, the signed record and what a later version changed."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

from clinic.diagnosis_codes import diagnosis_codes
from clinic.records.models import PathologyResult, SignedReport
from web.portal.desk_forms import (
    ADDENDUM,
    AGREEMENTS,
    CHANGE_REASONS,
    IMAGE_QUALITIES,
    OVERRIDE_REASONS,
    PLANS,
    SOURCES,
    SPECIMENS,
    ReadingForm,
)
from web.portal.forms import CONFIDENCES, DIAGNOSIS_GROUPS
from web.portal.wording import day_words

PATIENT_REASONS = {
    "pathology": "The result of your skin test came.",
    "new_information": "We learned something new.",
    "second_read": "A second doctor read your case too.",
    "seen_in_person": "A doctor has seen you.",
    "wrong_diagnosis": "What we wrote before was not right. We are sorry.",
    "wrong_plan": "What we told you to do was not right. We are sorry.",
    "wrong_words": "We wrote it in better words.",
    ADDENDUM: "The doctor added something.",
}
Rows = list[tuple[str, str]]
_STATUS_WORDS = {"amended": "Amended", "corrected": "Corrected", "appended": "Addendum"}
_REASON_WORDS = {**dict(CHANGE_REASONS), ADDENDUM: "Something was added"}


def decision_of_form(form: ReadingForm) -> Rows:
    values = {name: field.data or "" for name, field in form._fields.items()}
    return _decision(values)


def decision_of_report(
    report: SignedReport, finding: Mapping[str, Any], *, with_computer: bool = True
) -> Rows:
    """What was signed; a form of a change does not ask about the computer again."""
    return _decision(
        {
            "diagnosis": report.diagnosis,
            "diagnosis_text": finding.get("diagnosis_text", ""),
            "icd10_code": report.icd10cm,
            "confidence": report.confidence,
            "image_quality": report.image_quality,
            "plan": report.plan,
            "follow_up_on": report.follow_up_on or "",
            "agreement": report.agreement if with_computer else "",
            "override_reason": (report.override_reason or "") if with_computer else "",
            "clinical_note": finding.get("clinical_note", ""),
        }
    )


def _decision(values: Mapping[str, Any]) -> Rows:
    follow_up = values["follow_up_on"]
    rows = [
        ("Diagnosis", values["diagnosis_text"] or dict(DIAGNOSIS_GROUPS)[values["diagnosis"]]),
        ("ICD-10-CM", code_words(values["icd10_code"])),
        ("Confidence", dict(CONFIDENCES)[values["confidence"]]),
        ("Image quality", dict(IMAGE_QUALITIES)[values["image_quality"]]),
        ("Management", dict(PLANS)[values["plan"]]),
        ("Follow-up", day_words(follow_up) if isinstance(follow_up, date) else ""),
        ("Computer's view", dict(AGREEMENTS).get(values.get("agreement", ""), "")),
        (
            "Reason for the override",
            dict(OVERRIDE_REASONS).get(values.get("override_reason", ""), ""),
        ),
        ("Clinical note", values["clinical_note"]),
    ]
    return [(name, words) for name, words in rows if words]


def code_words(code: str) -> str:
    """A code with its title; one of an earlier edition may have none."""
    known = diagnosis_codes().get(code)
    return f"{code} {known.title}" if known else code


def changed_rows(before: Rows, after: Rows) -> list[tuple[str, str, str]]:
    """What differs, as (name, before, after); a text that is there once only has an empty side."""
    old, new = dict(before), dict(after)
    names = [*old, *(name for name in new if name not in old)]
    pairs = [(name, old.get(name, ""), new.get(name, "")) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]


def version_lines(reports: Sequence[SignedReport]) -> list[dict[str, Any]]:
    """Every version of a report, newest first."""
    return [
        {
            "version": one.version,
            "signed_at": one.signed_at,
            "status": _STATUS_WORDS.get(one.status, "Final"),
            "reason": _REASON_WORDS.get(one.change_reason or "", ""),
        }
        for one in reversed(reports)
    ]


def patient_changes(reports: Sequence[SignedReport]) -> list[dict[str, Any]]:
    """What each later version changed, newest first, in a patient's words; no class, no code."""
    return [_patient_change(before, after) for before, after in reversed([*pairwise(reports)])]


def _patient_change(before: SignedReport, after: SignedReport) -> dict[str, Any]:
    what = [
        words
        for changed, words in (
            (before.diagnosis != after.diagnosis, "What the doctor thinks it is."),
            (before.plan != after.plan, "What to do now."),
            (before.follow_up_on != after.follow_up_on, "When we look at it again."),
        )
        if changed
    ]
    why = PATIENT_REASONS[after.change_reason or ""]
    return {"signed_at": after.signed_at, "why": why, "what": [*what, "The doctor's text."]}


def pathology_rows(result: PathologyResult, note: str) -> Rows:
    rows = [
        ("Pathology", dict(DIAGNOSIS_GROUPS)[result.diagnosis]),
        ("ICD-10-CM", code_words(result.icd10cm)),
        ("ICD-O", result.morphology or ""),
        ("Specimen", dict(SPECIMENS).get(result.specimen, result.specimen)),
        ("Source", dict(SOURCES).get(result.source, result.source)),
        ("Date of the report", day_words(result.reported_on)),
        ("Note", note),
    ]
    return [(name, words) for name, words in rows if words]
