"""What the desk shows of a case's other readers: second reads, their consensus, notes, messages."""

from collections.abc import Iterable
from typing import Any

from clinic.access import CaseFacts, Permission, may
from clinic.double_read import Opinion, ReadState
from clinic.records import adjudication, case_notes, messages, second_reads, submissions
from clinic.records.db import database_now
from clinic.records.models import Account, CaseNote, SecondRead, Submission
from web.database import db
from web.guard import me
from web.portal import second_read_view
from web.portal.colleague_forms import NoteForm, WithdrawForm
from web.portal.second_read_view import name_of
from web.portal.texts import open_each

LOST = "This text is damaged and cannot be opened."


def panel(row: Submission, facts: CaseFacts) -> dict[str, Any]:
    """For who holds or signed the case. Opinions of others come after the reader's own."""
    own = facts.signed or facts.first_read_by == me().actor.user_id
    reads = second_reads.of_case(db.session(), row.id)
    notes = case_notes.of_case(db.session(), row.id)
    texts = open_each(row, _texts(reads, own=own) + [one.object_id for one in notes])
    settled = adjudication.consensus_of(db.session(), row.id)
    is_open = any(one.state == ReadState.OPEN for one in reads)
    return {
        "can_ask": own and not is_open,
        "reads": shown_reads(reads, texts, own=own),
        "consensus": second_read_view.consensus(settled, _signed(row)) if settled else None,
        "notes": shown_notes(notes, texts),
        "messages": _messages(row, facts),
        "withdraw_form": WithdrawForm(formdata=None),
        "note_form": NoteForm(formdata=None),
    }


def _texts(reads: Iterable[SecondRead], *, own: bool) -> list[str]:
    questions = [one.question_object_id for one in reads]
    answers = [one.note_object_id for one in reads if own]
    return [one for one in (*questions, *answers) if one is not None]


def shown_reads(
    reads: Iterable[SecondRead], texts: dict[str, str], *, own: bool
) -> list[dict[str, Any]]:
    now, names = database_now(db.session()), people_of(reads)
    return [
        {
            **second_read_view.request(one, names, now=now),
            "question": text_of(texts, one.question_object_id),
            "mine": one.asked_by == me().actor.user_id,
            "opinion": _opinion(one, texts) if own and one.state == ReadState.READ else None,
        }
        for one in reads
    ]


def _opinion(one: SecondRead, texts: dict[str, str]) -> dict[str, Any]:
    return second_read_view.opinion(one, text_of(texts, one.note_object_id))


def text_of(texts: dict[str, str], object_id: str | None) -> str:
    return texts.get(object_id, LOST) if object_id else ""


def people_of(reads: Iterable[SecondRead]) -> dict[str, str]:
    """Names by account of everybody whom these second reads name."""
    named = {who for one in reads for who in (one.asked_by, one.asked_of, one.reader_id) if who}
    return {who: name_of(db.session.get(Account, who)) for who in named}


def shown_notes(notes: Iterable[CaseNote], texts: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "author": name_of(one.author),
            "written_at": one.written_at,
            "text": text_of(texts, one.object_id),
        }
        for one in notes
    ]


def _signed(row: Submission) -> Opinion | None:
    report = submissions.signed_report(db.session(), row.id)
    return Opinion(report.diagnosis, report.plan) if report else None


def _messages(row: Submission, facts: CaseFacts) -> dict[str, int] | None:
    if not may(me().actor, Permission.EXCHANGE_MESSAGES, facts):
        return None
    unread = messages.unread(db.session(), [row.id], from_patient=True)
    return {"all": len(messages.of_case(db.session(), row.id)), "unread": unread.get(row.id, 0)}
