"""A patient's consents: the state of each purpose, how it came to be, and changing it."""

from typing import Any

from flask import abort, flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.consent import FOR_CARE, ConsentDecision, Purpose
from clinic.due_time import years_after
from clinic.records import consents, submissions
from clinic.records.db import database_now
from clinic.records.models import Consent
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.forms import WITHOUT_END, CareForm, ConsentForm

FIELD_OF = {
    Purpose.AI_ASSISTANCE: "ai",
    Purpose.RESEARCH: "research",
    Purpose.TEACHING: "teaching",
}


def consents_context(patient_id: str) -> dict[str, Any]:
    """What _consents.html shows."""
    permitted = consents.permitted_purposes(db.session(), patient_id)
    ticked = {f"consent_{name}": one in permitted for one, name in FIELD_OF.items()}
    return {
        "purposes": _purposes(patient_id, permitted),
        "consent_form": ConsentForm(formdata=None, **ticked),
        "care_permitted": permitted >= FOR_CARE,
    }


def _purposes(patient_id: str, permitted: set[str]) -> list[dict[str, Any]]:
    """Each purpose with the decisions on it, newest first."""
    of_purpose: dict[str, list[Consent]] = {}
    for row in consents.history(db.session(), patient_id):
        of_purpose.setdefault(row.purpose, []).insert(0, row)
    return [
        {
            "label": Purpose(name).label,
            "permitted": name in permitted,
            "until": rows[0].valid_until if rows[0].permitted else None,
            "history": rows,
        }
        for name, rows in of_purpose.items()
    ]


@portal.post("/account/consents")
@allowed(Permission.KEEP_OWN_RECORD)
def change_consents() -> AnyResponse:
    form = ConsentForm()
    if not form.validate_on_submit():
        abort(400)
    patient_id = me().actor.patient_id or ""
    permitted = consents.permitted_purposes(db.session(), patient_id)
    changed = [
        decision
        for purpose, name in FIELD_OF.items()
        if (decision := _decision(form, purpose, name, was=purpose in permitted)) is not None
    ]
    return _record(patient_id, changed)


def _decision(
    form: ConsentForm, purpose: Purpose, name: str, *, was: bool
) -> ConsentDecision | None:
    """None where nothing was changed: a decision is not made anew by saving the page."""
    wanted, years = bool(form[f"consent_{name}"].data), form[f"years_{name}"].data or ""
    if not wanted:
        return ConsentDecision(purpose, permitted=False) if was else None
    if was and not years:
        return None
    now = database_now(db.session())
    until = years_after(now, int(years)) if years not in {"", WITHOUT_END} else None
    return ConsentDecision(purpose, permitted=True, valid_until=until)


@portal.post("/account/care")
@allowed(Permission.KEEP_OWN_RECORD)
def change_care() -> AnyResponse:
    """Without care nothing new can be sent, and the computer sorts nothing any more."""
    form = CareForm()
    if not form.validate_on_submit():
        abort(400)
    permitted = form.care.data == "go_on"
    decisions = [ConsentDecision(one, permitted) for one in sorted(FOR_CARE)]
    return _record(me().actor.patient_id or "", decisions)


def _record(patient_id: str, decisions: list[ConsentDecision]) -> AnyResponse:
    consents.record(db.session(), patient_id, decisions)
    if not consents.permits_computer(db.session(), patient_id):
        submissions.stop_ai(db.session(), patient_id)
    said = [f"{one.purpose} {'yes' if one.permitted else 'no'}" for one in decisions]
    audit(AuditAction.CONSENT_RECORDED, detail=", ".join(said) or "nothing changed")
    db.session.commit()
    flash("Your choices are saved.")
    return redirect(url_for("portal.account"))
