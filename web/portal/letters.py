"""Letters to patient and GP: the templates of web/texts/letters, filled in for one case."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from flask import flash, jsonify
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.body_site import BodySite
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
from web.portal.wording import LANGUAGES, day_words, reference, site_words

FOLDER: Final = Path(__file__).resolve().parents[1] / "texts" / "letters"
ENGLISH: Final = "en"
# Sites whose names do not follow "the spot on your".
_PLACES: Final[Mapping[str, str]] = {BodySite.NAIL: "nail", BodySite.OTHER: "skin"}
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
def _plain_names(language: str) -> dict[str, str]:
    path = FOLDER / language / "diagnoses.json"
    names: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return names


def letters_for(plan: str, fields: Mapping[str, str], *, language: str) -> Letters:
    """Both letters of a plan. The GP's is in the clinic's language, which is English."""
    to_patient, to_gp = template(language, f"patient-{plan}"), template(ENGLISH, f"gp-{plan}")
    names = _plain_names(to_patient.language)
    plain = names.get(fields["diagnosis_group"], fields["diagnosis"])
    said = {name: fields.get(name, "") for name in FIELDS} | {"plain_diagnosis": plain}
    return Letters(
        to_patient.filled(said),
        to_gp.filled(said),
        to_patient.label,
        translated=to_patient.language == language,
    )


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
    written = letters_for(form.plan.data, _fields(row, form), language=language)
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
        "place": _PLACES.get(row.body_site, BodySite(row.body_site).label),
        "case": reference(row.id),
        "today": day_words(database_now(db.session()).date()),
        "diagnosis_group": group,
        "diagnosis": own_words or dict(DIAGNOSIS_GROUPS)[group],
        "code": code if code in diagnosis_codes() else "not coded yet",
        "confidence": dict(CONFIDENCES).get(form.confidence.data or "", "not stated").lower(),
        "follow_up": day_words(form.follow_up_on.data) if form.follow_up_on.data else "",
        "note": (form.clinical_note.data or "").strip(),
    }
