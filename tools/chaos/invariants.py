"""What must hold after every fault: nothing lost, nothing twice, nothing leaked, no lie on a page.

Each check returns a sentence for everything that is wrong.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records import audit_log
from clinic.records.models import AuditEntry, ScreeningResult, SealedObject, Submission
from clinic.submission import CaseState, ScreeningState
from ml.labels import CLINICAL_NAMES
from tools.chaos import canary
from tools.chaos.scene import Case, Ending, Scene, ending_of
from tools.portal_client import PortalClient, PortalError

# What a patient's page says for each state of a case.
PATIENT_WORDS = {
    CaseState.RECEIVED: "Received",
    CaseState.AWAITING_REVIEW: "Waiting for a doctor",
    CaseState.UNREADABLE: "We need new photos",
    CaseState.SIGNED: "Answer ready",
}
AI_UNAVAILABLE = "AI unavailable"
_QUEUE_ROW = re.compile(r'href="/review/([0-9a-f]{32})"(.*?)</tr>', re.DOTALL)
_NEXT_PAGE = re.compile(r'href="(/review\?[^"]*after=[^"]+)"')
_STATE_TAG = re.compile(r'<strong class="nhsuk-tag[^"]*">([^<]*)</strong>')


def problems(scene: Scene) -> list[str]:
    """All checks. Records are checked for every case of the installation, pages for the trial's."""
    with scene.sessions() as session:
        found = [
            *lost(session, scene.cases.values()),
            *not_one_result(session, scene.cases.values()),
            *broken_audit(session, scene.installation.auditor().key),
        ]
    # To close a file that was read ends this process's locks on it, also those of SQLite: with
    # connections still open another process would take itself for the last and drop the log.
    scene.installation.engine.dispose()
    found += canary.leaks(places(scene), markers(scene))
    found += lying_patient_pages(scene)
    return found + lying_queue(scene)


def lost(session: Session, cases: Iterable[Case]) -> list[str]:
    """Every accepted case has a row that has ended, and in a way that its fault allows."""
    rows = {row.id: row for row in session.scalars(select(Submission))}
    found = []
    for case in cases:
        row = rows.get(case.id)
        if row is None:
            found.append(f"Case {case.id} was accepted and has no row.")
            continue
        ending = ending_of(row)
        if ending not in case.endings:
            allowed = " or ".join(sorted(case.endings))
            where = f"{row.screening_state}, {row.case_state}, attempt {row.attempt}"
            found.append(f"Case {case.id} is {where} ({row.last_failure}) and not {allowed}.")
    return found


# How many a finished case of one photo has: the heat-maps are of the two likeliest classes.
_PICTURES: Final = {ObjectKind.RENDITION: 1, ObjectKind.HEATMAP: 2}


def not_one_result(session: Session, cases: Iterable[Case]) -> list[str]:
    """A finished case has one result, was written once, and has its pictures once; others none."""
    results = _counts(session, select(ScreeningResult.submission_id))
    written = _counts(
        session,
        select(AuditEntry.submission_id).where(
            AuditEntry.action == AuditAction.SUBMISSION_SCREENED
        ),
    )
    pictures = {kind: _pictures(session, kind) for kind in _PICTURES}
    states = {row.id: row.screening_state for row in session.scalars(select(Submission))}
    unreadable = set(
        session.scalars(select(Submission.id).where(Submission.case_state == CaseState.UNREADABLE))
    )
    found = []
    for case in cases:
        done = states.get(case.id) == ScreeningState.DONE and case.id not in unreadable
        counts = {
            "results": (results[case.id], 1),
            "entries of a finished analysis": (written[case.id], 1),
            **{
                f"pictures of kind {kind}": (pictures[kind][case.id], wanted)
                for kind, wanted in _PICTURES.items()
            },
        }
        found += [
            f"Case {case.id} has {count} {what} and not {wanted * done}."
            for what, (count, wanted) in counts.items()
            if count != wanted * done
        ]
    return found


def _pictures(session: Session, kind: ObjectKind) -> Counter[str]:
    query = select(SealedObject.submission_id).where(SealedObject.kind == kind)
    return _counts(session, query.where(SealedObject.current))


def _counts(session: Session, query: Select[Any]) -> Counter[str]:
    return Counter(one for one in session.scalars(query) if one is not None)


def broken_audit(session: Session, key: bytes) -> list[str]:
    problem = audit_log.verify(session, key)
    entries = session.scalar(select(func.count()).select_from(AuditEntry))
    if problem is None and not entries:
        problem = "it is empty."
    return [] if problem is None else [f"The audit chain does not hold: {problem}"]


def places(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """Everything that is kept: files of the installation, of the database server, all rows."""
    yield from canary.stored_files(scene.installation.folder)
    if scene.server is not None:
        yield from canary.stored_files(scene.server.data)
    with scene.sessions() as session:
        yield from canary.stored_rows(session)


def markers(scene: Scene) -> Mapping[str, bytes]:
    found = dict(canary.TEXT_MARKERS)
    for photo in scene.photos:
        found |= photo.markers
    return found


def lying_patient_pages(scene: Scene) -> list[str]:
    """Each patient's page says what the row says, and nothing of the computer's view."""
    found = []
    with scene.sessions() as session:
        rows = {row.id: row for row in session.scalars(select(Submission))}
    for case_id in scene.trial:
        case, row = scene.cases[case_id], rows.get(case_id)
        if row is None:  # `lost` has said so
            continue
        try:
            page = case.patient.get(f"/cases/{case_id}")
        except PortalError as error:
            found.append(f"The patient's page of case {case_id} does not open: {error}")
            continue
        found += lies_of_a_patient_page(page, case_id, CaseState(row.case_state))
    return found


def lies_of_a_patient_page(page: str, case_id: str, state: CaseState) -> list[str]:
    shown = {html.unescape(one).strip() for one in _STATE_TAG.findall(page)}
    found = []
    if PATIENT_WORDS[state] not in shown:
        found.append(f"The patient's page of case {case_id} ({state}) says {sorted(shown)}.")
    found += [
        f"The patient's page of case {case_id} names a class of the computer: {name}."
        for name in CLINICAL_NAMES.values()
        if name.lower() in page.lower()
    ]
    if AI_UNAVAILABLE.lower() in page.lower():
        found.append(f"The patient's page of case {case_id} speaks of the computer's trouble.")
    return found


def lying_queue(scene: Scene) -> list[str]:
    """The dermatologist's queue lists each case that waits, marked where the computer failed."""
    rows = {row.id: row for row in scene.rows(list(scene.trial))}
    return lies_of_the_queue(queue_rows(scene.desk), rows)


def queue_rows(desk: PortalClient) -> dict[str, str]:
    """Every row of the review queue over all of its pages: case id and the row's HTML."""
    found: dict[str, str] = {}
    path: str | None = "/review"
    while path is not None:
        page = desk.get(path)
        found |= dict(_QUEUE_ROW.findall(page))
        more = _NEXT_PAGE.search(page)
        path = html.unescape(more.group(1)) if more else None
    return found


def lies_of_the_queue(listed: Mapping[str, str], rows: Mapping[str, Submission]) -> list[str]:
    found = []
    for case_id, row in rows.items():
        waits = row.case_state == CaseState.AWAITING_REVIEW
        if waits != (case_id in listed):
            word = "does not list" if waits else "lists"
            found.append(f"The queue {word} case {case_id}, which is {row.case_state}.")
        elif waits and (AI_UNAVAILABLE in listed[case_id]) != (ending_of(row) == Ending.DEAD):
            found.append(f"The queue does not say the truth on the computer in case {case_id}.")
    return found
