"""Bad input leaves one audit entry: whoever is signed in and is refused is on record.

A view that audits its own refusal is left alone. Requests over a rate limit leave one entry a
minute for each person, or address, and route: nobody can flood the chain by sending faster. Who is
not signed in gets nothing of anybody and leaves no other entry.
"""

from flask import Flask, Response, current_app, request
from flask_limiter.util import get_remote_address
from flask_login import current_user
from limits import RateLimitItemPerMinute

from clinic.access import Actor
from clinic.audit_event import AuditAction
from clinic.records.clinic_scope import every_clinic
from clinic.records.db import DATABASE_AWAY
from web.database import db, request_is_audited
from web.errors import error_page
from web.guard import me
from web.permission import mark_of
from web.rate_limits import limiter
from web.services import services

REFUSED = frozenset({400, 403, 404, 409, 410, 413, 415, 422})
TOO_MANY = 429


def init_refusals(app: Flask) -> None:
    app.after_request(_keep)


def first_in_minute(what: str, who: str) -> bool:
    """Whether this is the first of its kind within a minute, over all processes."""
    return bool(limiter.limiter.hit(RateLimitItemPerMinute(1), "audited", what, who))


def _keep(response: Response) -> Response:
    if response.status_code not in REFUSED and response.status_code != TOO_MANY:
        return response
    try:
        if not request_is_audited():
            _record(response.status_code)
    except DATABASE_AWAY:
        db.session.rollback()
        return error_page(503)
    return response


def _record(status: int) -> None:
    actor = _person()
    if status == TOO_MANY:
        who = actor.user_id if actor else get_remote_address()
        if not first_in_minute(str(request.endpoint), who):
            return
    elif actor is None or not _is_for_people():
        return
    db.session.rollback()
    with every_clinic(db.session()):  # who sends too much may be of no clinic
        services().auditor.record(
            db.session(),
            AuditAction.REQUEST_REFUSED,
            actor.user_id if actor else "unknown",
            clinic_id=actor.clinic_id if actor else None,
            patient_id=actor.patient_id if actor else None,
            allowed=False,
            detail=f"{request.endpoint} {status}",
        )
        db.session.commit()


def _person() -> Actor | None:
    return me().actor if current_user.is_authenticated else None


def _is_for_people() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    mark = mark_of(view) if view is not None else None
    return mark is not None and mark.is_personal
