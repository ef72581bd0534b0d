"""The report as a page for people, and the small narrative that each FHIR resource carries."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from clinic.report_values import (
    VIEW_NAMES,
    PatientValues,
    ReportStatus,
    ReportValues,
    ScreeningValues,
    require_signed,
)
from clinic.terminology import BODY_SITES, LESION_CLASSES, MANAGEMENT_PLANS

Rows = Iterable[tuple[str, str]]

AI_UNAVAILABLE = "AI unavailable: the photos were judged by the dermatologist alone."
AI_NOTICE = "AI lesion classification (not a diagnosis)"
_STATUS_WORDS = {
    ReportStatus.FINAL: "Final report",
    ReportStatus.AMENDED: "Amended report",
    ReportStatus.CORRECTED: "Corrected report",
    ReportStatus.APPENDED: "Report with an addendum",
    ReportStatus.ENTERED_IN_ERROR: "Withdrawn report: entered in error",
}


def plain(text: str) -> str:
    """Drop what neither XML 1.0 nor a FHIR string may hold, and space at the ends."""
    return "".join(c for c in text if _allowed(c)).strip()


def _allowed(character: str) -> bool:
    point = ord(character)
    control = point < 0x20 and character not in "\t\n\r"
    return not (control or 0xD800 <= point <= 0xDFFF or point in {0xFFFE, 0xFFFF})


def site_text(values: ReportValues) -> str:
    case = values.case
    parts = (BODY_SITES[case.body_site].text, case.laterality, plain(case.body_site_text or ""))
    return ", ".join(part for part in parts if part)


def narrative(title: str, rows: Rows) -> str:
    body = "".join(
        f"<tr><th>{escape(label)}</th><td>{escape(plain(text))}</td></tr>"
        for label, text in rows
        if plain(text)
    )
    table = f"<table><tbody>{body}</tbody></table>" if body else ""
    heading = f"<p><b>{escape(plain(title))}</b></p>"
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{heading}{table}</div>'


def summary_rows(values: ReportValues) -> list[tuple[str, str]]:
    sign_off = require_signed(values)
    finding = sign_off.finding
    return [
        ("Status", _STATUS_WORDS[sign_off.status]),
        ("Diagnosis", finding.name),
        ("ICD-10-CM", finding.icd10 or ""),
        ("Confidence", finding.confidence),
        ("Plan", MANAGEMENT_PLANS[finding.plan].display or ""),
        ("Site", site_text(values)),
        ("Finding", finding.clinical_text),
        ("Signed", f"{_moment(sign_off.at)} by {reader_name(values)}"),
    ]


def screening_rows(screening: ScreeningValues) -> list[tuple[str, str]]:
    ranked = sorted(screening.probabilities.items(), key=lambda item: (-item[1], item[0]))
    return [
        *((LESION_CLASSES[code].display, f"{100 * p:.1f} %") for code, p in ranked),
        ("Urgency", screening.urgency),
        ("Reasons", "; ".join(screening.reasons)),
        ("Model", f"{screening.model_version} ({screening.model_fingerprint})"),
        ("Analysed", _moment(screening.analysed_at)),
    ]


def reader_name(values: ReportValues) -> str:
    reader = values.practitioner
    return plain(" ".join((*reader.given, reader.family)))


def full_name(patient: PatientValues) -> str:
    return plain(" ".join((*patient.given, patient.family)))


def to_html(values: ReportValues) -> bytes:
    """Give the report as one UTF-8 page; equal values give equal bytes, so a hash can name it."""
    finding = require_signed(values).finding
    screening = values.screening
    ai = _table(screening_rows(screening)) if screening else f"<p>{AI_UNAVAILABLE}</p>"
    sections = (
        ("Patient", _table(_patient_rows(values))),
        ("Dermatologist's finding", _table(summary_rows(values))),
        ("For the patient", f"<p>{_lines(finding.patient_text)}</p>"),
        (AI_NOTICE, ai),
        ("Photos", _table(_photo_rows(values))),
    )
    body = "".join(f"<h2>{escape(title)}</h2>{content}" for title, content in sections)
    title = "Dermatology report"
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1><p>{escape(values.organization.name)}</p>{body}</body></html>\n"
    )
    return page.encode()


def _patient_rows(values: ReportValues) -> list[tuple[str, str]]:
    patient = values.patient
    return [
        ("Name", full_name(patient)),
        ("Date of birth", patient.birth_date.isoformat() if patient.birth_date else "not given"),
        ("Sex", patient.sex),
        *(("Identifier", identifier.value) for identifier in patient.identifiers),
        ("Photos sent", _moment(values.case.submitted_at)),
    ]


def _photo_rows(values: ReportValues) -> list[tuple[str, str]]:
    return [(VIEW_NAMES[photo.view], _moment(photo.created_at)) for photo in values.photos]


def _table(rows: Rows) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{_lines(text)}</td></tr>'
        for label, text in rows
        if plain(text)
    )
    return f"<table><tbody>{body}</tbody></table>"


def _lines(text: str) -> str:
    return escape(plain(text)).replace("\n", "<br>")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
