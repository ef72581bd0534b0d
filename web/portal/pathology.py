"""Pathology of signed cases: what is awaited, what came, and how well doubtful cases were read."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission, may
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.pathology import (
    FEWEST,
    MORPHOLOGIES,
    Against,
    Comparison,
    PathologySource,
    Specimen,
    compare,
)
from clinic.reading_statistics import Share
from clinic.records import pathology
from clinic.records.db import database_now
from clinic.records.models import Submission
from clinic.records.pathology import Awaited, NewResult
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.desk_forms import PathologyForm
from web.portal.forms import DIAGNOSIS_GROUPS
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.shown_case import shown_case
from web.portal.wording import reference, site_words

LONGEST_LIST = 100


@portal.get("/pathology")
@allowed(Permission.SEE_QUEUE)
def pathology_page() -> str:
    clinic_id = me().actor.clinic_id
    waiting = pathology.awaited(db.session(), clinic_id=clinic_id, limit=LONGEST_LIST)
    compared = compare(pathology.proven_cases(db.session(), clinic_id=clinic_id))
    now = database_now(db.session())
    audit(AuditAction.PATHOLOGY_LISTED, detail=f"{len(waiting)} awaited, {compared.n} known")
    db.session.commit()
    return render_template(
        "pathology.html",
        awaited=[_awaited(one) | {"since": now - one.signed_at} for one in waiting],
        proven=compared.n,
        judges=_judges(compared),
        groups=_groups(compared),
        fewest=FEWEST,
    )


def _awaited(one: Awaited) -> dict[str, Any]:
    row = one.submission
    return {
        "id": row.id,
        "reference": reference(row.id),
        "site": site_words(row),
        "signed_at": one.signed_at,
    }


def _judges(compared: Comparison) -> list[dict[str, Any]]:
    return [{"name": name, **_figures(one)} for name, one in compared.judges.items()]


def _figures(one: Against) -> dict[str, str]:
    return {
        "right": share_words(one.right),
        "sensitivity": share_words(one.sensitivity),
        "specificity": share_words(one.specificity),
    }


def _groups(compared: Comparison) -> list[dict[str, Any]]:
    names = dict(DIAGNOSIS_GROUPS)
    return [
        {"name": names[group], "n": share.n, "right": share_words(share)}
        for group, share in compared.by_group.items()
    ]


def share_words(share: Share) -> str:
    """A share with its interval, or why there is none."""
    if share.value is None or share.interval is None:
        return "no case"
    if share.n < FEWEST:
        return f"too few cases ({share.hits} of {share.n})"
    low, high = share.interval
    return f"{share.value:.0%} ({low:.0%} to {high:.0%}), {share.hits} of {share.n}"


@portal.route("/review/<case_id>/pathology", methods=["GET", "POST"])
@allowed(Permission.SEE_QUEUE)
def add_pathology(case_id: str) -> AnyResponse:
    """For any dermatologist of the clinic: the page says no more of the case than a queue does."""
    row, facts = case_for(case_id, Permission.ADD_PATHOLOGY)
    form = PathologyForm()
    if request.method == "GET" or not form.validate_on_submit():
        audit(AuditAction.CASE_LISTED, row, detail="pathology form")
        db.session.commit()
        return page(
            "add_pathology.html",
            form,
            case=shown_case(row, None),
            morphologies=list(MORPHOLOGIES.items()),
        )
    _add(row, form)
    flash("The result is kept. It counts for the model's evaluation from now on.")
    if may(me().actor, Permission.CHANGE_REPORT, facts):
        return redirect(url_for("portal.review_case", case_id=row.id, _anchor="pathology"))
    return redirect(url_for("portal.pathology_page"))


def _add(row: Submission, form: PathologyForm) -> None:
    note = (form.note.data or "").strip()
    new = NewResult(
        diagnosis=form.diagnosis.data,
        icd10cm=form.icd10_code.data,
        morphology=form.morphology.data or None,
        specimen=Specimen(form.specimen.data),
        source=PathologySource(form.source.data),
        reported_on=form.reported_on.data,
        note=seal_text(row, ObjectKind.PATHOLOGY, note) if note else None,
    )
    added = pathology.add(db.session(), row, new, added_by=me().actor.user_id)
    audit(AuditAction.PATHOLOGY_RECORDED, row, detail=f"{added.source}, {added.reported_on}")
    db.session.commit()
