"""How cases are read: a reader's own figures, and for administrators those of the clinic."""

from datetime import timedelta
from typing import Final

from flask import abort, render_template, request

from clinic.access import Permission, Role
from clinic.audit_event import AuditAction
from clinic.reading_summary import FEWEST_CASES, ReadCase, ReadingSummary, summarise, summarise_by
from clinic.records import reading_cases
from clinic.records.models import Account
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.reading_view import sections

PERIODS: Final = {
    "30": ("the last 30 days", timedelta(days=30)),
    "90": ("the last 90 days", timedelta(days=90)),
    "365": ("the last year", timedelta(days=365)),
}


@portal.get("/reading")
@allowed(Permission.SEE_READING)
def reading() -> str:
    period = request.args.get("days", "90")
    if period not in PERIODS:
        abort(404)
    actor = me().actor
    own = actor.role is Role.DERMATOLOGIST
    cases = reading_cases.read_cases(
        db.session(),
        clinic_id=actor.clinic_id,
        signed_within=PERIODS[period][1],
        reader_id=actor.user_id if own else None,
    )
    shown = sections(_summaries(cases, by_reader=not own))
    audit(AuditAction.READING_READ, detail=f"{period} days, {len(cases)} cases")
    db.session.commit()
    return render_template(
        "reading.html",
        own=own,
        period=period,
        periods={name: words for name, (words, _) in PERIODS.items()},
        n=len(cases),
        capped=len(cases) == reading_cases.MOST_CASES,
        fewest=FEWEST_CASES,
        sections=shown,
    )


def _summaries(cases: list[ReadCase], *, by_reader: bool) -> list[tuple[str, ReadingSummary]]:
    """All cases, those of each model version, and for administrators those of each reader."""
    with_computer = [one for one in cases if one.computer is not None]
    versions = summarise_by(with_computer, lambda one: one.model_version or "unknown")
    found = [("All cases", summarise(cases))]
    found += [(f"Model {name}", one) for name, one in versions.items()]
    if by_reader:
        readers = summarise_by(cases, lambda one: one.reader_id)
        found += [(_name(account_id), one) for account_id, one in readers.items()]
    return found


def _name(account_id: str) -> str:
    account = db.session.get_one(Account, account_id)
    return f"{account.given_name} {account.family_name}"
