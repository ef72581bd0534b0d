"""Second reads for who gives them: what is asked of me, and the page on which I answer."""

from typing import Any

from flask import abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.abcde import abcde
from clinic.access import CaseFacts, Permission
from clinic.audit_event import AuditAction
from clinic.double_read import ReadState
from clinic.keeper_protocol import ObjectKind
from clinic.records import adjudication, case_notes, review, second_reads, submissions
from clinic.records.db import database_now
from clinic.records.models import SecondRead, Submission
from clinic.records.second_reads import NotYoursError, SecondOpinion
from web.database import db
from web.guard import audit, deny, me, missing
from web.permission import allowed
from web.portal import case_view, computer_view, desk_photos, second_read_view
from web.portal.blueprint import portal
from web.portal.colleague_forms import SecondReadForm
from web.portal.desk_colleagues import (
    people_of,
    shown_notes,
    shown_reads,
    text_of,
)
from web.portal.forms import ReleaseForm
from web.portal.login import page
from web.portal.sealing import seal_text
from web.portal.texts import case_texts, open_each
from web.portal.viewing import pictures_of
from web.portal.wording import reference, site_words, urgency_word

TAKEN_OVER = "Another reader took this over meanwhile, or it is closed. Nothing was stored."


@portal.get("/second-reads")
@allowed(Permission.SEE_QUEUE)
def second_read_list() -> str:
    """What colleagues and the clinic's rule ask of me, and what I asked of them."""
    actor = me().actor
    work = second_reads.work_of(db.session(), clinic_id=actor.clinic_id, reader_id=actor.user_id)
    rows = {name: _rows(getattr(work, name)) for name in ("mine", "pool", "asked")}
    count = sum(map(len, rows.values()))
    audit(AuditAction.SECOND_READS_LISTED, detail=f"{count} rows")
    db.session.commit()
    return render_template("second_reads.html", **rows)


def _rows(found: list[SecondRead]) -> list[dict[str, Any]]:
    now, names = database_now(db.session()), people_of(found)
    return [{**second_read_view.request(one, names, now=now), **_place(one)} for one in found]


def _place(one: SecondRead) -> dict[str, Any]:
    row = db.session.get_one(Submission, one.submission_id)
    return {
        "reference": reference(row.id),
        "site": site_words(row),
        "urgency": urgency_word(row.urgency),
    }


@portal.get("/second-reads/<read_id>")
@allowed(Permission.SEE_QUEUE)
def second_read(read_id: str) -> AnyResponse:
    one, row = _found(read_id)
    if one.reader_id != me().actor.user_id:
        return _offered(one, row)
    return _answered(one, row) if one.state == ReadState.READ else _reading(one, row)


@portal.post("/second-reads/<read_id>/take")
@allowed(Permission.SEE_QUEUE)
def take_second_read(read_id: str) -> AnyResponse:
    one, row = _found(read_id)
    if not second_reads.take(db.session(), one.id, reader_id=me().actor.user_id):
        deny(row, detail="second read: not for this reader")
    audit(AuditAction.SECOND_READ_TAKEN, row, detail=one.reason)
    db.session.commit()
    return redirect(url_for("portal.second_read", read_id=one.id))


@portal.post("/second-reads/<read_id>/give-back")
@allowed(Permission.SEE_QUEUE)
def give_second_read_back(read_id: str) -> AnyResponse:
    one, row = _found(read_id)
    if one.reader_id != me().actor.user_id:
        deny(row, detail="second read: not this reader's")
    form = ReleaseForm()
    if not form.validate_on_submit():
        audit(AuditAction.REQUEST_REFUSED, row, detail="give back: no reason", allowed=False)
        db.session.commit()
        flash("Choose a reason to give the case back.", "error")
        return redirect(url_for("portal.second_read", read_id=one.id))
    if not second_reads.give_back(db.session(), one.id, reader_id=me().actor.user_id):
        db.session.rollback()
        abort(409)
    audit(AuditAction.SECOND_READ_GIVEN_BACK, row, detail=form.reason.data)
    db.session.commit()
    flash("You gave it back.")
    return redirect(url_for("portal.second_read_list"))


@portal.post("/second-reads/<read_id>/record")
@allowed(Permission.SEE_QUEUE)
def record_second_read(read_id: str) -> AnyResponse:
    """Store the opinion. A lease that ran out is renewed first, unless somebody else is at it."""
    one, row = _found(read_id)
    reader, form = me().actor.user_id, SecondReadForm()
    if one.reader_id != reader or not second_reads.take(db.session(), one.id, reader_id=reader):
        return _taken_over(row, form)
    if not form.validate_on_submit():
        return _reading(one, row, form)
    note = seal_text(row, ObjectKind.NOTE, form.note.data) if form.note.data else None
    opinion = SecondOpinion(form.differential, form.confidence.data, form.plan.data, note)
    try:
        second_reads.record(db.session(), one, opinion, reader_id=reader)
    except NotYoursError:
        return _taken_over(row, form)
    adjudication.after_reading(db.session(), one)
    audit(AuditAction.SECOND_READ_RECORDED, row, detail="blind" if one.blind else "open")
    db.session.commit()
    flash("Your opinion is stored. Now you see what the others think.")
    return redirect(url_for("portal.second_read", read_id=one.id))


def _found(read_id: str) -> tuple[SecondRead, Submission]:
    one = second_reads.find(db.session(), read_id)
    row = submissions.find(db.session(), one.submission_id) if one else None
    if one is None or row is None:
        missing("second read")
    return one, row


def _offered(one: SecondRead, row: Submission) -> AnyResponse:
    """Before it is taken nothing personal is opened."""
    reader = me().actor.user_id
    if not second_reads.may_take(db.session(), one.id, reader_id=reader):
        deny(row, detail="second read: not for this reader")
    audit(AuditAction.CASE_LISTED, row, detail="second read, not taken")
    db.session.commit()
    return page("second_read.html", SecondReadForm(formdata=None), **_closed(one, row))


def _closed(one: SecondRead, row: Submission) -> dict[str, Any]:
    now = database_now(db.session())
    return {
        "state": "offered",
        "read": second_read_view.request(one, people_of([one]), now=now),
        "case": case_view.case(row, None, site_detail="", now=now),
        "until": one.reader_until,
        **dict.fromkeys(("history", "abcde", "first", "own", "computer")),
        **dict.fromkeys(("question", "image_quality"), ""),
        **dict[str, list[Any]](photos=[], earlier_visits=[], others=[], notes=[]),
        "release_form": ReleaseForm(formdata=None),
    }


def _reading(one: SecondRead, row: Submission, form: SecondReadForm | None = None) -> AnyResponse:
    """The page on which a second reader looks and answers."""
    facts = submissions.facts(db.session(), row)
    if not _is_at_it(facts):
        return _offered(one, row)
    shown = _closed(one, row) | {"state": "reading"} | _opened(one, row, own=False)
    return page("second_read.html", form or SecondReadForm(formdata=None), **shown)


def _is_at_it(facts: CaseFacts) -> bool:
    return any(one.user_id == me().actor.user_id for one in facts.second_readers)


def _answered(one: SecondRead, row: Submission) -> AnyResponse:
    """For a while after the answer the reader sees what the others and the computer think."""
    form = SecondReadForm(formdata=None)
    if not _is_at_it(submissions.facts(db.session(), row)):
        audit(AuditAction.CASE_LISTED, row, detail="own second read")
        db.session.commit()
        own = second_read_view.opinion(one, "")
        return page("second_read.html", form, **_closed(one, row) | {"state": "closed", "own": own})
    shown = _closed(one, row) | {"state": "answered"} | _opened(one, row, own=True)
    return page("second_read.html", form, **shown)


def _opened(one: SecondRead, row: Submission, *, own: bool) -> dict[str, Any]:
    """The case, and of the opinions what this reader may know: all once they have their own."""
    opinions = own or not one.blind
    audit(AuditAction.CASE_READ, row, detail=f"second read, {'open' if opinions else 'blind'}")
    pictures = pictures_of(row)
    others = _others(one, row) if opinions else []
    notes = case_notes.of_case(db.session(), row.id) if opinions else []
    result = review.result_of(db.session(), row.id)
    history = case_texts(row, [ObjectKind.HISTORY]).history
    computer = computer_view.computer(result, None, history) if own else None
    sealed = [one.question_object_id, one.note_object_id if own else None]
    sealed += [other.note_object_id for other in others] + [note.object_id for note in notes]
    opened = open_each(row, [object_id for object_id in sealed if object_id])
    return {
        "history": history,
        "question": text_of(opened, one.question_object_id),
        "photos": desk_photos.photos(pictures, computer_view.layer_labels(pictures, result)),
        "earlier_visits": desk_photos.earlier_visits(row),
        "image_quality": desk_photos.image_quality(result),
        "abcde": abcde(history) if history else None,
        "first": second_read_view.first_opinion(one) if opinions else None,
        "others": shown_reads(others, opened, own=True),
        "notes": shown_notes(notes, opened),
        "own": second_read_view.opinion(one, text_of(opened, one.note_object_id)) if own else None,
        "computer": computer,
    }


def _others(one: SecondRead, row: Submission) -> list[SecondRead]:
    found = second_reads.recorded(db.session(), row.id)
    return [other for other in found if other.id != one.id]


def _taken_over(row: Submission, form: SecondReadForm) -> AnyResponse:
    """Nothing is stored; what was written is shown once more, to be copied."""
    db.session.rollback()
    audit(AuditAction.REQUEST_REFUSED, row, detail="second read: taken over", allowed=False)
    db.session.commit()
    answer = page("not_stored.html", form, what=TAKEN_OVER, text=form.note.data or "")
    answer.status_code = 409
    return answer
