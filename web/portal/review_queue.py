"""The dermatologists' queue: urgency first, then time left; its lists, filters and claims."""

from datetime import datetime
from typing import Any

from flask import abort, flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.body_site import BodySite
from clinic.records import messages, second_reads
from clinic.records import review_queue as records
from clinic.records.db import database_now
from clinic.records.review_queue import COUNT_LIMIT, PAGE_SIZE, Cursor, Filters, QueueRow, Untold
from clinic.submission import ScreeningState
from clinic.urgency import ORDER
from web.database import db
from web.guard import audit, case_for, me
from web.permission import allowed
from web.portal import page_cursor
from web.portal.blueprint import portal
from web.portal.wording import reference, site_words, urgency_word

# The three lists that every case is in one of while it is open, and filters over the first two.
SHOWN = {
    "unclaimed": {"unclaimed": True},
    "held": {"held": True},
    "waiting": {"waiting": True},
    "all": {},
    "mine": {"mine": True},
    "urgent": {"urgent": True},
    "overdue": {"overdue": True},
}
SITES = {str(site): site.label for site in BodySite if not site.is_intimate}


@portal.get("/review")
@allowed(Permission.SEE_QUEUE)
def review_queue() -> str:
    active, site = _chosen()
    actor = me().actor
    found = records.queue_page(
        db.session(),
        clinic_id=actor.clinic_id,
        reader_id=actor.user_id,
        filters=_filters(active, site),
        after=_cursor(),
    )
    now = database_now(db.session())
    rows = [_row(one, now) for one in found[:PAGE_SIZE]]
    live = _live(active, site)
    untold = [_untold(one) for one in records.untold(db.session(), clinic_id=actor.clinic_id)]
    audit(AuditAction.CASE_LISTED, detail=f"{active}, {site or 'every site'}, {len(rows)} rows")
    db.session.commit()
    more = _to_text(found[PAGE_SIZE - 1]) if len(found) > PAGE_SIZE else None
    return render_template(
        "review_queue.html",
        rows=rows,
        sites=SITES,
        untold=untold,
        colleagues=_from_others(),
        next_cursor=more,
        **live,
    )


@portal.get("/review/live")
@allowed(Permission.SEE_QUEUE)
def review_queue_live() -> AnyResponse:
    """The counts alone, for the page that refreshes them. No case is named: no audit entry."""
    response = make_response(render_template("_queue_counts.html", **_live(*_chosen())))
    response.add_etag()
    return response.make_conditional(request)


def _chosen() -> tuple[str, str | None]:
    active, site = request.args.get("show", "all"), request.args.get("site") or None
    if active not in SHOWN or (site is not None and site not in SITES):
        abort(404, "There is no such list. Start again from the queue.")
    return active, site


def _filters(name: str, site: str | None) -> Filters:
    return Filters(**SHOWN[name], site=site)


def _live(active: str, site: str | None) -> dict[str, Any]:
    actor = me().actor
    counts = records.counts(
        db.session(),
        {name: _filters(name, site) for name in SHOWN},
        clinic_id=actor.clinic_id,
        reader_id=actor.user_id,
    )
    words = {name: _count_words(count) for name, count in counts.items()}
    return {"counts": words, "active": active, "site": site}


def _from_others() -> dict[str, int]:
    """What waits beside the queue: second reads, and messages of patients."""
    actor = me().actor
    who = {"clinic_id": actor.clinic_id, "reader_id": actor.user_id}
    return {
        "second_reads": second_reads.count_to_do(db.session(), **who),
        "messages": len(messages.inbox(db.session(), **who)),
    }


@portal.post("/review/next")
@allowed(Permission.SEE_QUEUE)
def claim_next() -> AnyResponse:
    """Take the case that is due first."""
    actor = me().actor
    row = records.claim_next(db.session(), clinic_id=actor.clinic_id, reader_id=actor.user_id)
    if row is None:
        audit(AuditAction.CASE_LISTED, detail="no case is waiting")
        db.session.commit()
        flash("No case is waiting.")
        return redirect(url_for("portal.review_queue"))
    audit(AuditAction.CASE_CLAIMED, row, detail="next")
    db.session.commit()
    return redirect(url_for("portal.review_case", case_id=row.id))


@portal.post("/review/<case_id>/claim")
@allowed(Permission.SEE_QUEUE)
def claim_case(case_id: str) -> AnyResponse:
    row, facts = case_for(case_id, Permission.SEE_IN_QUEUE)
    if facts.signed or not records.claim(db.session(), row.id, reader_id=me().actor.user_id):
        db.session.rollback()
        abort(409, "Another reader has this case, or it is closed. Go back to the queue.")
    audit(AuditAction.CASE_CLAIMED, row, detail="chosen")
    db.session.commit()
    return redirect(url_for("portal.review_case", case_id=row.id))


def _count_words(count: int) -> str:
    return str(count) if count <= COUNT_LIMIT else f"{COUNT_LIMIT}+"


def _row(one: QueueRow, now: datetime) -> dict[str, Any]:
    row = one.submission
    held = row.claim_until is not None and row.claim_until > now
    owner = one.holder if held else None
    return {
        "id": row.id,
        "reference": reference(row.id),
        "urgency": urgency_word(row.urgency),
        "reasons": one.result.rule_reasons if one.result else [],
        "site": site_words(row),
        "waiting": now - row.received_at,
        "left": row.due_at - now,
        "told_by": row.told_by,
        "told_late": row.told_by is not None and row.told_by < now,
        "warned": one.warned,
        "owner": f"{owner.given_name} {owner.family_name}" if owner else None,
        "mine": owner is not None and owner.id == me().actor.user_id,
        "second_read": one.waits_for_second,
        "ai_available": row.screening_state == ScreeningState.DONE,
    }


def _untold(one: Untold) -> dict[str, Any]:
    return {
        "id": one.submission_id,
        "reference": reference(one.submission_id),
        "signer": one.signer,
        "mine": one.signer_id == me().actor.user_id,
        "due_at": one.due_at,
    }


def _to_text(last: QueueRow) -> str:
    row = last.submission
    return page_cursor.to_text([row.urgency or 0, row.due_at, row.id])


def _cursor() -> Cursor | None:
    place = page_cursor.asked(back="the queue", ranges=(range(len(ORDER)),))
    return Cursor(*place) if place else None
