"""The language that a patient wants to read letters in."""

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import SelectField

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.records.models import Patient
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.forms import PortalForm, choices_of
from web.portal.wording import LANGUAGES


class LanguageForm(PortalForm):
    language = SelectField(
        "Language of letters",
        choices=choices_of(LANGUAGES.items()),
        description="If we have no text in your language yet, the letter is in English.",
    )


def language_form(patient_id: str) -> LanguageForm:
    """The form with what the patient chose before."""
    patient = db.session.get_one(Patient, patient_id)
    return LanguageForm(formdata=None, data={"language": patient.language})


@portal.post("/account/language")
@allowed(Permission.KEEP_OWN_RECORD)
def change_language() -> AnyResponse:
    form = LanguageForm()
    if not form.validate_on_submit():
        abort(400)
    patient = db.session.get_one(Patient, me().actor.patient_id)
    patient.language = form.language.data
    audit(AuditAction.LANGUAGE_CHANGED, detail=patient.language)
    db.session.commit()
    flash("Saved. We write in this language where we can.")
    return redirect(url_for("portal.account"))
