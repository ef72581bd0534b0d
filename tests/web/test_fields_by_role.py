"""Which fields each role gets, page by page: a new one is written down here, or the test fails.

A page's fields are the names that its view hands to the template, with those inside dictionaries;
of JSON they are its keys.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, template_rendered
from sqlalchemy import select

from clinic.body_site import BodySite
from clinic.records.models import Submission
from tests.browser_session import BrowserSession
from tests.portal_tools import ask_for_pictures
from tests.results import keep_results
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
# What every page's frame has, and the form whose fields are those of web/portal/forms.py.
FRAME = frozenset(
    {
        *("asset_version", "clinic", "csp_nonce", "csrf_token", "csrf_meta_tag", "viewer", "form"),
        *("config", "current_user", "g", "request", "session"),
    }
)

CARD = "id late messages promised_at reference sent_at site state updated"
DESK = "ai_state due_at id left reference sent_at site site_detail state told_at told_by urgency"
LETTER = """
    ai_used follow_up_on image_quality language plan registration_number signed_at signer_name text
    version
"""
COLLEAGUES = """
    colleagues.can_ask colleagues.consensus colleagues.messages.all colleagues.messages.unread
    colleagues.note_form colleagues.notes colleagues.reads colleagues.withdraw_form
"""
LIVE = """
    live.attempts live.escalations.broken live.escalations.promise live.escalations.warned
    live.promises.due_soon live.promises.overdue live.promises.urgency
    live.queue.counts.count live.queue.counts.oldest live.queue.state live.queue.total live.retakes
    live.stages live.taken_at live.tiles.bad live.tiles.colour live.tiles.lines live.tiles.name
    live.tiles.words live.workers.alive live.workers.fingerprint live.workers.id
    live.workers.last_seen live.workers.model live.workers.started
"""
SITES = " ".join(site for site in BodySite if not site.is_intimate)
READING = """
    capped fewest n own period periods.30 periods.365 periods.90 sections.columns
    sections.rows.cells.n sections.rows.cells.words sections.rows.n sections.rows.name
    sections.title sections.words
"""
DRIFT = """
    drift.charts drift.colour drift.reference_size drift.sentence drift.version drift.window_size
    drift.words
"""


def within(name: str, inside: str) -> str:
    return " ".join(f"{name}.{one}" for one in inside.split())


PATIENT_S_CASE = f"{within('case', CARD)} grant_url photos.label photos.view retake"
PAGES = {
    ("alice", "/cases"): within("cases", CARD),
    ("alice", "/cases/new"): """
        ai_permitted epoch_json is_minor max_megabytes photo_errors photo_slots
        submission_id
    """,
    ("alice", "/cases/{read}"): f"{PATIENT_S_CASE} result",
    ("alice", "/cases/{signed}"): f"""
        {PATIENT_S_CASE} {within("result", LETTER)}
        {within("result", "changes earlier files gp_letter")}
    """,
    ("alice", "/my-record/access"): "entries next_cursor",
    ("bob", "/review"): f"""
        active {within("counts", "all held mine overdue unclaimed urgent waiting")} next_cursor site
        {within("rows", "ai_available id left mine owner reasons reference site told_by urgency")}
        {within("rows", "second_read told_late waiting warned")} untold {within("sites", SITES)}
        {within("colleagues", "messages second_reads")}
    """,
    ("bob", "/review/live"): f"""
        active {within("counts", "all held mine overdue unclaimed urgent waiting")} site
    """,
    ("bob", "/review/{read}"): f"""
        {within("case", DESK)} {COLLEAGUES}
        {within("computer", "agreement_words fingerprint model_version reasons set_words warnings")}
        {within("computer.maps", "label words")}
        {within("computer.members", "label name probability")}
        {within("computer.probabilities", "label malignant probability words")}
        {within("first_read", "alternatives confidence impression_label recorded_at urgency")}
        {within("owner", "left mine name until")} passed_on
        {within("patient", "age language name record_number sex")}
        {within("abcde", "Asymmetry Border Colour Diameter Evolving")}
        {within("photos", "label layers.label layers.object object view")}
        {within("draft", "revision saved_at")} attachment_form attachments
        decision_form earlier_visits first_read_form history history_lost
        image_quality release_form retake_form rule_reasons
    """,
    ("bob", "/review/{signed}"): f"""
        {within("case", DESK)} {within("result", LETTER)} result.status computer_line decision
        {within("versions", "reason signed_at status version")}
        attachments changes gp_letter hand_over_form newest passed_on pathology
        {COLLEAGUES}
    """,
    ("bob", "/signed"): f"""
        keeper next_cursor wanted
        {within("rows", "id keeper mine reference sent_at signed_at site told version")}
    """,
    ("bob", "/reading"): READING,
    ("erin", "/reading"): READING,
    ("erin", "/operations"): f"""
        {LIVE} {DRIFT} {within("dead_cases", "attempts free id reason reference since")}
        care_withdrawn escalated
    """,
    ("erin", "/service-times"): """
        contacts_form defaults holiday_form holidays limits_form told
    """,
    ("erin", "/operations/live"): LIVE,
    ("grace", "/operations"): f"{LIVE} {DRIFT} dead_cases care_withdrawn escalated",
    ("grace", "/operations/live"): LIVE,
    ("grace", "/audit"): """
        actions audit entries.action entries.actor entries.allowed entries.at entries.name
        entries.sequence people
        entries.subject filters.action filters.actor filters.allowed filters.from filters.patient
        filters.reference filters.to next_cursor
    """,
}
# Of a case administrators and auditors get the reference, and why the computer gave up on it.
NOT_FOR_THEM = frozenset(
    [
        "photos",
        "grant_url",
        "history",
        "patient",
        "computer",
        "computer_line",
        "probabilities",
        "result",
        "letter",
        "finding",
        "decision",
        "first_read",
        "site",
        "site_detail",
        "name",
        "family_name",
        "birth_date",
        "record_number",
        "reasons",
    ]
)


@contextmanager
def contexts(app: Flask) -> Iterator[list[dict[str, Any]]]:
    """What templates are given meanwhile."""
    found: list[dict[str, Any]] = []

    def note(_app: Flask, context: dict[str, Any], **_: Any) -> None:
        found.append({name: one for name, one in context.items() if name not in FRAME})

    with template_rendered.connected_to(note, app):
        yield found


def fields(value: Any) -> set[str]:
    """The names in a value that hold no further names: `a`, or `a.b` for what lies inside."""
    if isinstance(value, list | tuple):
        return set().union(*map(fields, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, one in value.items():
        inside = fields(one)
        found |= {f"{key}.{name}" for name in inside} or {str(key)}
    return found


@pytest.fixture
def cases(world: World) -> dict[str, str]:
    """One that Bob has read, one that he signed, and others that the computer gave up on."""
    found = {
        "read": world.first_read(world.alice, world.bob),
        "signed": world.signed(world.alice, world.bob),
    }
    with world.sessions() as session, session.begin():
        keep_results(session, world, [0.9] * 3)
        lost = session.scalars(select(Submission).where(Submission.screening_state == "queued"))
        for row in lost:
            row.screening_state, row.last_failure = "dead", "DecodeTimeout"
            row.case_state, row.urgency = "awaiting_review", 1
    return found


@pytest.fixture
def given(
    app: Flask, signed_in: SignedIn, cases: dict[str, str]
) -> dict[tuple[str, str], set[str]]:
    """The fields of each page of PAGES."""
    found = {}
    for name, path in PAGES:
        with contexts(app) as context:
            assert signed_in(name).get(path.format(**cases)).status_code == 200
        found[name, path] = set().union(*map(fields, context))
    return found


def test_each_page_gets_the_fields_that_are_written_down_and_no_other(
    given: dict[tuple[str, str], set[str]],
) -> None:
    written_down = {page: set(names.split()) for page, names in PAGES.items()}
    assert {page: given[page] ^ names for page, names in written_down.items()} == {
        page: set() for page in PAGES
    }


def test_administrators_and_auditors_get_no_clinical_field_of_a_case(
    given: dict[tuple[str, str], set[str]],
) -> None:
    # Of machines; what the auditor typed; who acted: staff by name, patients by number.
    no_case = {"live.tiles.name", "filters.patient", "entries.name", "sections.rows.name"}
    for (name, path), names in given.items():
        if name in {"erin", "grace"}:
            parts = {part for one in names - no_case for part in one.split(".")}
            assert not parts & NOT_FOR_THEM, path


def test_json_holds_the_keys_that_are_written_down_and_no_other(
    signed_in: SignedIn, cases: dict[str, str]
) -> None:
    for name in ("alice", "bob"):
        browser = signed_in(name)
        asked = ask_for_pictures(browser.client, browser.csrf_token(), cases["read"]).json
        answer = browser.get(asked["url"]).json

        assert fields(asked) == {"grant", "url"}
        described = "header id replaced slot type url view"
        assert fields(answer) == set(within("objects", described).split())
        kinds = {one["type"] for one in answer["objects"]}
        assert kinds == ({"rendition"} if name == "alice" else {"rendition", "heatmap"})
