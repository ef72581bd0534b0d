"""Letters to patient and GP: the templates of web/texts/letters, filled in for one case."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

from babel.dates import format_date
from flask import flash, jsonify
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.diagnosis_codes import diagnosis_codes
from clinic.keeper_protocol import ObjectKind
from clinic.letter import FIELDS, LetterTemplate, parse_template, text_mark
from clinic.records.db import database_now
from clinic.records.models import Clinic, Patient, Submission
from web.database import db
from web.guard import audit, case_for, me, wants_json
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.desk_forms import LEADS_ON, ChangeForm, DecisionForm, ReadingForm
from web.portal.forms import CONFIDENCES, DIAGNOSIS_GROUPS
from web.portal.report_changes import change_page
from web.portal.review_case import desk
from web.portal.texts import case_texts
from web.portal.wording import ENGLISH, LANGUAGES, day_words, reference, site_words

FOLDER: Final = Path(__file__).resolve().parents[1] / "texts" / "letters"
_LOCALES: Final = {ENGLISH: "en_GB"}  # dates; other languages write theirs one way
KEPT: Final = "What you wrote was kept. Empty a text to have it filled in again."
CHOOSE_FIRST: Final = "Choose the diagnosis and the management first: the letters follow from them."


@dataclass(frozen=True)
class Letters:
    """Both letters of one plan; `label` names the template of the patient's with its version."""

    patient_text: str
    gp_text: str
    label: str
    translated: bool


@cache
def template(language: str, name: str) -> LetterTemplate:
    """The text in this language, or the English one where it has none."""
    path = FOLDER / language / f"{name}.md"
    if language not in LANGUAGES or not path.is_file():
        language, path = ENGLISH, FOLDER / ENGLISH / f"{name}.md"
    return parse_template(path.read_text(encoding="utf-8"), language=language, name=name)


@cache
def words(language: str, name: str) -> dict[str, str]:
    """How letters in this language name diagnoses ("diagnoses") or body sites ("places")."""
    path = FOLDER / language / f"{name}.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Spoken:
    """What each language says in its own way."""

    diagnosis_group: str
    body_site: str
    follow_up_on: date | None


def letters_for(plan: str, fields: Mapping[str, str], spoken: Spoken, *, language: str) -> Letters:
    """Both letters of a plan. The GP's is in the clinic's language, which is English."""
    to_patient, to_gp = template(language, f"patient-{plan}"), template(ENGLISH, f"gp-{plan}")
    known = {name: fields.get(name, "") for name in FIELDS}
    return Letters(
        to_patient.filled(known | _in_words(spoken, to_patient.language, fields["diagnosis"])),
        to_gp.filled(known | _in_words(spoken, ENGLISH, fields["diagnosis"])),
        to_patient.label,
        translated=to_patient.language == language,
    )


def _in_words(spoken: Spoken, language: str, diagnosis: str) -> dict[str, str]:
    day = spoken.follow_up_on
    return {
        "plain_diagnosis": words(language, "diagnoses").get(spoken.diagnosis_group, diagnosis),
        "place": words(language, "places")[spoken.body_site],
        "follow_up": format_date(day, "long", locale=_LOCALES.get(language, language))
        if day
        else "",
    }


@portal.post("/review/<case_id>/letters")
@allowed(Permission.SEE_QUEUE)
def draft_letters(case_id: str) -> AnyResponse:
    """Fill in both texts for the chosen plan: for the script as JSON, else in the form."""
    row, facts = case_for(case_id, Permission.WRITE_DRAFT)
    form = ChangeForm() if facts.signed else DecisionForm()
    ready = bool(form.diagnosis.data and form.plan.data) and form.plan.data not in LEADS_ON
    texts, notes = _filled(row, form) if ready else ({}, [CHOOSE_FIRST])
    if wants_json():
        audit(AuditAction.LETTER_DRAFTED, row, detail=form.plan.data if ready else "")
        db.session.commit()
        return jsonify(texts=texts, notes=notes)
    for note in notes:
        flash(note)
    for name, text in texts.items():
        form[name].data = text
    if isinstance(form, ChangeForm):
        return change_page(row, form)
    return desk(row, facts, decision_form=form)


def _filled(row: Submission, form: ReadingForm) -> tuple[dict[str, str], list[str]]:
    """The form's fields with both letters, and what the reader must be told.

    What a reader wrote stays: a text is replaced where it is empty, or as the page had it.
    """
    language = db.session.get_one(Patient, row.patient_id).language
    spoken = Spoken(form.diagnosis.data, row.body_site, form.follow_up_on.data)
    written = letters_for(form.plan.data, _fields(row, form), spoken, language=language)
    marks = (form.letter_marks.data or "").split()
    texts, kept = dict[str, str](), False
    for name, text in (("patient_text", written.patient_text), ("gp_text", written.gp_text)):
        present = form[name].data or ""
        if (
            present.strip()
            and text_mark(present) not in marks
            and text_mark(present) != text_mark(text)
        ):
            kept = True
        else:
            texts[name] = text
    texts["letter_marks"] = " ".join(text_mark(texts[name]) for name in texts)
    texts["letter_template"] = written.label
    notes = [] if written.translated else [_untranslated(language)]
    return texts, [*notes, KEPT] if kept else notes


def _untranslated(language: str) -> str:
    name = LANGUAGES.get(language, language)
    return f"The patient asked for {name}. There is no text of it yet: this one is English."


def _fields(row: Submission, form: ReadingForm) -> dict[str, str]:
    identity = case_texts(row, [ObjectKind.IDENTITY]).identity
    clinic, reader = db.session.get_one(Clinic, row.clinic_id), me().login.account
    group, code = form.diagnosis.data, form.icd10_code.data or ""
    own_words = (form.diagnosis_text.data or "").strip()
    return {
        "patient": identity.full_name if identity else "",
        "doctor": f"{reader.given_name} {reader.family_name}",
        "registration": reader.registration_number or "",
        "clinic": clinic.name,
        "phone": clinic.phone,
        "site": site_words(row).lower(),
        "case": reference(row.id),
        "today": day_words(database_now(db.session()).date()),
        "diagnosis": own_words or dict(DIAGNOSIS_GROUPS)[group],
        "code": code if code in diagnosis_codes() else "not coded yet",
        "confidence": dict(CONFIDENCES).get(form.confidence.data or "", "not stated").lower(),
        "note": (form.clinical_note.data or "").strip(),
    }
