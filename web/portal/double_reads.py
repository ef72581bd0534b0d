"""For administrators: which cases a second dermatologist reads, and how far two readers agree."""

from typing import Any

from flask import flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.double_read import Rule
from clinic.reading_statistics import kappa
from clinic.records import double_read_rules, second_reads
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.colleague_forms import RuleForm
from web.portal.forms import DIAGNOSIS_GROUPS
from web.portal.login import page
from web.step_up import needs_step_up

FEWEST_PAIRS = 20  # below this an interval would say nothing


@portal.get("/double-reads")
@allowed(Permission.OPERATE)
def double_read_rule() -> AnyResponse:
    rule = double_read_rules.rule_of(db.session(), me().actor.clinic_id)
    form = RuleForm(
        formdata=None,
        benign_percent=round(100 * rule.benign_share),
        skin_tone=rule.skin_tone,
        disagreement=rule.disagreement,
    )
    audit(AuditAction.DOUBLE_READ_RULE_READ)
    return _page(form)


@portal.post("/double-reads")
@allowed(Permission.OPERATE)
@needs_step_up()
def change_double_read_rule() -> AnyResponse:
    form = RuleForm()
    if not form.validate_on_submit():
        audit(AuditAction.REQUEST_REFUSED, detail="rule of second reads", allowed=False)
        return _page(form)
    share = form.benign_percent.data / 100
    rule = Rule(share, skin_tone=form.skin_tone.data, disagreement=form.disagreement.data)
    double_read_rules.set_rule(db.session(), me().actor.clinic_id, rule)
    detail = f"{rule.benign_share:.0%}, tone {rule.skin_tone}, differs {rule.disagreement}"
    audit(AuditAction.DOUBLE_READ_RULE_CHANGED, detail=detail)
    db.session.commit()
    flash("The rule is changed. It counts for cases signed from now on.")
    return redirect(url_for("portal.double_read_rule"))


def _page(form: RuleForm) -> AnyResponse:
    clinic_id = me().actor.clinic_id
    figures = second_reads.figures(db.session(), clinic_id)
    agreement = _agreement(second_reads.paired_diagnoses(db.session(), clinic_id))
    db.session.commit()
    return page("double_reads.html", form, figures=figures, agreement=agreement)


def _agreement(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Cohen's kappa of first and second reader; None where there are too few pairs."""
    found = kappa(pairs, [code for code, _ in DIAGNOSIS_GROUPS])
    enough = found.n >= FEWEST_PAIRS and found.value is not None
    return {
        "pairs": found.n,
        "fewest": FEWEST_PAIRS,
        "kappa": found.value if enough else None,
        "low": found.low if enough else None,
        "high": found.high if enough else None,
    }
