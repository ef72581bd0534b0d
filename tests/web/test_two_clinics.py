"""Two clinics in one portal: whatever their people do, nothing of one is seen from the other.

Hypothesis lets everybody do everything with everything. After each request the answer is searched
for what is the other clinic's (ids, names, texts), and the other clinic's rows must be as before.

`pytest tests/web/test_two_clinics.py --hypothesis-profile=long` takes many more steps.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, select
from werkzeug.test import TestResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.fhir_capability import READ_TYPES
from clinic.fhir_search import INCLUDES, REVERSE_INCLUDES
from clinic.records import ehr_clients
from clinic.records.clinic_scope import SHARED
from clinic.records.db import every_clinic_sessions, make_engine, new_id
from clinic.records.models import Base, Clinic
from tests.browser_session import BrowserSession
from tests.portal_tools import (
    CASE,
    DECISION,
    FIRST_READ,
    JSON,
    REGISTRATION,
    another_app,
    as_file,
    send,
    viewer_key,
)
from tests.world import PASSWORD, PHOTO, World, build
from web.database import db
from web.portal.wording import reference
from web.rate_limits import limiter
from worker.screen_submission import screen

EXAMPLES = max(6, settings.default.max_examples // 25)
STEPS = 30
# Each clinic's word is in its name and in every text that its people write.
CAST = {
    "quokka": ("alice", "carol", "bob", "dan", "erin", "grace"),
    "numbat": ("henry", "irma", "frank", "judy", "kim"),
}
HOME = {name: word for word, names in CAST.items() for name in names}
PATIENTS, READERS = ("alice", "carol", "henry", "irma"), ("bob", "dan", "frank")
MORE_OF_THE_SECOND = {
    "henry": Role.PATIENT,
    "irma": Role.PATIENT,
    "judy": Role.ADMINISTRATOR,
    "kim": Role.AUDITOR,
}
PAGES = (
    *("/", "/help", "/account", "/cases", "/cases/new", "/my-record/access"),
    *("/second-reads", "/messages", "/double-reads"),
    *("/review", "/review?show=mine", "/operations", "/operations/live", "/audit"),
)
OF_READERS: dict[str, dict[str, Any]] = {
    "claim": {},
    "first-read": FIRST_READ,
    "sign": DECISION | {"action": "sign"},
    "retake": {"reasons": "blur"},
    "release": {"reason": "mistake"},
    "notes": {"note": "A note."},
    "messages": {"message": "A message."},
    "second-opinion": {"colleague": "any", "mode": "blind", "question": "A nevus?"},
}
OPINION = {"diagnosis": "nv", "confidence": "high", "plan": "benign_advice"}
SUFFIXES = ("", "-report", "-ai", "-finding", "-provenance")
TABLES = ("account", "clinic", "patient", "submission", "sealed_object", "ehr_client")

everybody, patients, readers = map(st.sampled_from, (tuple(HOME), PATIENTS, READERS))
picks = st.integers(0, 10**6)
Row = tuple[str, dict[str, Any]]


@dataclass
class Scene:
    """One portal of two clinics, whose database can be set back to its beginning."""

    folder: Path
    world: World
    engine: Engine
    app: Flask
    clinics: dict[str, str] = field(default_factory=dict)
    browsers: dict[str, BrowserSession] = field(default_factory=dict)
    systems: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def made(cls, folder: Path) -> "Scene":
        url = f"sqlite:///{folder / 'records.db'}"
        engine = make_engine(url)
        Base.metadata.create_all(engine)
        world = build(every_clinic_sessions(engine), folder)
        scene = cls(folder, world, engine, another_app(world, url, folder))
        scene._people()
        scene._cases()
        engine.dispose()
        with scene.app.app_context():
            db.engine.dispose()
        shutil.copy(folder / "records.db", folder / "beginning.db")
        return scene

    def _people(self) -> None:
        world = self.world
        for name, role in MORE_OF_THE_SECOND.items():
            world.add_person(name, role, clinic_id=world.other_clinic_id)
        self.clinics = dict(zip(CAST, (world.clinic_id, world.other_clinic_id), strict=True))
        with world.sessions() as session, session.begin():
            for word, clinic_id in self.clinics.items():
                row = session.get_one(Clinic, clinic_id)
                row.name, row.slug = f"{word.title()} House", word
                made = ehr_clients.register(session, clinic_id=clinic_id, name=f"{word} hospital")
                self.systems[word] = {"Authorization": f"Bearer {made.token}"}
        for name in HOME:
            self.browsers[name] = BrowserSession.of(self.app, world, world.people[name])
            self.browsers[name].csrf_token()

    def _cases(self) -> None:
        for patient, reader in (("alice", "bob"), ("henry", "frank")):
            one, other = self.world.people[patient], self.world.people[reader]
            self.world.screened(one)
            self.world.claimed(one, other)
            case = self.world.first_read(one, other)
            asked = self.world.first_read(one, other)
            self.world.ask_second(asked, other)
            answer = self.browsers[reader].post(f"/review/{case}/sign", signature(HOME[reader]))
            assert answer.location == f"/review/{case}"

    def set_back(self) -> None:
        self.engine.dispose()
        with self.app.app_context():
            db.engine.dispose()
            limiter.reset()
        for end in ("-wal", "-shm"):
            (self.folder / f"records.db{end}").unlink(missing_ok=True)
        shutil.copy(self.folder / "beginning.db", self.folder / "records.db")


def signature(word: str) -> dict[str, str]:
    texts = {"patient_text": f"This {word} spot is harmless.", "clinical_note": f"A {word} note."}
    return DECISION | texts | {"action": "sign"}


def rows_of(engine: Engine) -> Iterator[Row]:
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                yield table.name, dict(row)


def by_clinic(engine: Engine) -> dict[str, list[Row]]:
    """Every row under its clinic's id, found in other words than the wall's; "" for the rest."""
    rows, owners = list(rows_of(engine)), dict[str, str]()
    for name, row in rows:
        if "id" in row:
            owners[str(row["id"])] = row["id"] if name == "clinic" else _owner(row, owners)
    shares: dict[str, list[Row]] = {}
    for name, row in rows:
        owner = row["id"] if name == "clinic" else _owner(row, owners)
        shares.setdefault(owner, []).append((name, row))
    return shares


def _owner(row: dict[str, Any], owners: dict[str, str]) -> str:
    told = ("clinic_id", "patient_id", "submission_id", "account_id", "login_session_id")
    found = (owners.get(row.get(column) or "") for column in told)
    return next((one for one in found if one), "")


def canaries(rows: Iterable[Row], word: str) -> set[str]:
    """What would give this clinic's records away: ids, cases' references, names, its word."""
    people = {f"{name.title()}{end}" for name in CAST[word] for end in ("-Family", " Reader")}
    ids = {str(row["id"]) for name, row in rows if name != "audit_head" and "id" in row}
    cases = {reference(row["id"]) for name, row in rows if name == "submission"}
    numbers = {row["record_number"] for name, row in rows if name == "patient"}
    return {word, word.title()} | people | ids | cases | numbers


class TwoClinics(RuleBasedStateMachine):
    """Everybody does everything with everything."""

    scene: ClassVar[Scene]

    @initialize()
    def begin(self) -> None:
        self.scene.set_back()

    def watched(self, word: str, sent: str, ask: Callable[[], TestResponse]) -> TestResponse:
        """Ask, and see that the answer and the rows keep to this clinic."""
        other = next(one for one in CAST if one != word)
        other_id = self.scene.clinics[other]
        before = by_clinic(self.scene.engine)[other_id]
        answer = ask()
        said = f"{answer.headers}{answer.get_data().decode('latin-1')}"
        leaked = {one for one in canaries(before, other) if one in said and one not in sent}
        assert not leaked, f"{sent} told {word} of {leaked}"
        changed = by_clinic(self.scene.engine)[other_id] != before
        assert not changed, f"{sent} of {word} changed rows of {other}"
        assert answer.status_code < 500, f"{sent}: {answer.status_code}"
        return answer

    def get(self, who: str, path: str) -> TestResponse:
        return self.watched(HOME[who], path, lambda: self.scene.browsers[who].get(path))

    def post(self, who: str, path: str, form: dict[str, Any]) -> TestResponse:
        browser = self.scene.browsers[who]
        return self.watched(HOME[who], f"{path} {form}", lambda: browser.post(path, form))

    def one_of(self, table: str, pick: int, *, word: str) -> str:
        """An id of this table: of the other clinic as often as of the own, or of nobody."""
        shares = by_clinic(self.scene.engine)
        own = self.scene.clinics[word]
        other = next(one for one in self.scene.clinics.values() if one != own)
        share = shares[own if pick % 2 else other]
        ids = sorted(row["id"] for name, row in share if name == table)
        return [*ids, new_id()][pick // 2 % (len(ids) + 1)]

    @rule(who=everybody, page=st.sampled_from(PAGES))
    def open_a_page(self, who: str, page: str) -> None:
        self.get(who, page)

    @rule(who=patients, pick=picks)
    def open_a_case_as_a_patient(self, who: str, pick: int) -> None:
        case = self.one_of("submission", pick, word=HOME[who])
        self.get(who, f"/cases/{case}")
        self.post(who, f"/cases/{case}/photos", {})

    @rule(who=readers, deed=st.sampled_from(tuple(OF_READERS)), pick=picks)
    def open_a_case_as_a_reader(self, who: str, deed: str, pick: int) -> None:
        case = self.one_of("submission", pick, word=HOME[who])
        self.get(who, f"/review/{case}")
        self.post(who, f"/review/{case}/{deed}", OF_READERS[deed])

    @rule(who=readers, pick=picks)
    def read_a_case_a_second_time(self, who: str, pick: int) -> None:
        one = self.one_of("second_read", pick, word=HOME[who])
        self.get(who, f"/second-reads/{one}")
        self.post(who, f"/second-reads/{one}/take", {})
        self.get(who, f"/second-reads/{one}")
        self.post(who, f"/second-reads/{one}/record", OPINION)
        self.get(who, f"/second-reads/{one}")

    @rule(who=patients, pick=picks)
    def write_to_the_reader(self, who: str, pick: int) -> None:
        case = self.one_of("submission", pick, word=HOME[who])
        self.post(who, f"/cases/{case}/messages", {"message": f"My {HOME[who]} spot itches."})
        self.get(who, f"/cases/{case}/messages")

    @rule(who=st.sampled_from(("erin", "judy")), pick=picks)
    def send_a_case_back_to_the_computer(self, who: str, pick: int) -> None:
        case = self.one_of("submission", pick, word=HOME[who])
        self.post(who, f"/operations/dead/{case}/retry", {})

    @rule(who=everybody, pick=picks)
    def end_a_session(self, who: str, pick: int) -> None:
        one = self.one_of("login_session", pick, word=HOME[who])
        if one not in self.logins_of(who):  # who ends the own session does nothing more in it
            self.post(who, f"/account/sessions/{one}/end", {})

    def logins_of(self, who: str) -> list[str]:
        account = self.scene.world.people[who].account_id
        rows = [row for name, row in rows_of(self.scene.engine) if name == "login_session"]
        return [row["id"] for row in rows if row["account_id"] == account]

    @rule(who=readers, pick=picks)
    def read_and_sign(self, who: str, pick: int) -> None:
        case = self.one_of("submission", pick, word=HOME[who])
        self.post(who, f"/review/{case}/claim", {})
        self.get(who, f"/review/{case}")
        self.post(who, f"/review/{case}/first-read", FIRST_READ)
        self.post(who, f"/review/{case}/sign", signature(HOME[who]))
        self.get(who, f"/review/{case}")

    @rule(who=readers)
    def take_the_next(self, who: str) -> None:
        self.post(who, "/review/next", {})

    @rule(who=patients)
    def send_a_spot(self, who: str) -> None:
        texts = {"site_detail": f"near my {HOME[who]} scar"}
        self.post(who, "/cases/new", CASE | texts | {"photo_close_up": as_file(PHOTO)})

    @rule()
    def screen_all(self) -> None:
        """The worker serves all clinics: its session is no request's."""
        waiting = [
            row["id"]
            for name, row in rows_of(self.scene.engine)
            if name == "submission" and row["screening_state"] == "queued"
        ]
        for case in waiting:
            screen(self.scene.world.screening(), case)

    @rule(who=st.sampled_from(PATIENTS + READERS), pick=picks)
    def ask_for_keys(self, who: str, pick: int) -> None:
        browser = self.scene.browsers[who]
        path = f"/cases/{self.one_of('submission', pick, word=HOME[who])}/grants"
        headers = {"X-CSRFToken": browser.csrf_token(), **JSON}
        body = viewer_key()[1]

        def ask() -> TestResponse:
            return browser.client.post(path, json=body, headers=headers)

        answer = self.watched(HOME[who], path, ask)
        if answer.status_code == 202:
            self.get(who, answer.json["url"])

    @rule(who=st.sampled_from(PATIENTS + READERS), pick=picks)
    def fetch_a_picture_or_an_answer(self, who: str, pick: int) -> None:
        self.get(who, f"/objects/{self.one_of('sealed_object', pick, word=HOME[who])}")
        self.get(who, f"/grants/{self.one_of('key_request', pick, word=HOME[who])}")

    @rule(
        who=st.sampled_from(("grace", "kim", "erin")),
        action=st.sampled_from(["", *AuditAction]),
        table=st.sampled_from(("", "account", "submission")),
        pick=picks,
    )
    def search_the_audit_log(self, who: str, action: str, table: str, pick: int) -> None:
        query = {"action": action}
        if table == "account":
            query["actor"] = self.one_of(table, pick, word=HOME[who])
        if table == "submission":
            query["reference"] = reference(self.one_of(table, pick, word=HOME[who]))
        self.get(who, f"/audit?{urlencode(query)}")

    @rule(word=st.sampled_from(tuple(CAST)), table=st.sampled_from(TABLES), pick=picks)
    def search_as_a_record_system(self, word: str, table: str, pick: int) -> None:
        asked = [("_include", one) for one in INCLUDES]
        asked += [("_revinclude", one) for one in REVERSE_INCLUDES]
        if table in {"patient", "submission"}:
            name = "patient" if table == "patient" else "_id"
            asked.append((name, self.one_of(table, pick, word=word)))
        self.fhir(word, f"/fhir/R4/DiagnosticReport?{urlencode(asked)}")

    @rule(
        word=st.sampled_from(tuple(CAST)),
        kind=st.sampled_from(tuple(READ_TYPES)),
        table=st.sampled_from(TABLES),
        suffix=st.sampled_from(SUFFIXES),
        pick=picks,
    )
    def read_as_a_record_system(
        self, word: str, kind: str, table: str, suffix: str, pick: int
    ) -> None:
        self.fhir(word, f"/fhir/R4/{kind}/{self.one_of(table, pick, word=word)}{suffix}")

    def fhir(self, word: str, path: str) -> None:
        client, headers = self.scene.app.test_client(), self.scene.systems[word]
        self.watched(word, path, lambda: client.get(path, headers=headers))

    @rule(first=patients, then=patients)
    def change_places_at_one_browser(self, first: str, then: str) -> None:
        client = self.scene.app.test_client()
        for who in (first, then):
            form = {"email": self.scene.world.people[who].email, "password": PASSWORD}
            send(client, "/sign-in", form)
            for page in ("/cases", "/account", "/my-record/access"):
                self.watched(HOME[who], page, lambda page=page: client.get(page))

    @rule(word=st.sampled_from(tuple(CAST)), pick=picks)
    def register(self, word: str, pick: int) -> None:
        client: FlaskClient = self.scene.app.test_client()
        names = {"email": f"{word}{pick}@example.com", "family_name": f"{word.title()}-Family"}
        send(client, "/register", REGISTRATION | names | {"clinic": word})
        case = self.one_of("submission", pick, word=word)
        for page in ("/cases", "/account", f"/cases/{case}"):
            self.watched(word, page, lambda page=page: client.get(page))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene.made(tmp_path)
    yield scene
    scene.engine.dispose()
    with scene.app.app_context():
        db.engine.dispose()


def test_nothing_of_one_clinic_is_seen_or_changed_from_the_other(scene: Scene) -> None:
    TwoClinics.scene = scene
    run_state_machine_as_test(
        TwoClinics,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=(Phase.reuse, Phase.generate),  # to make a story shorter takes minutes
        ),
    )


def test_the_search_would_find_a_leak(scene: Scene) -> None:
    """What it looks for is on the pages of the own clinic, and in the own rows."""
    found = by_clinic(scene.engine)
    for name, path in (("bob", "/review"), ("alice", "/cases"), ("grace", "/audit")):
        word = HOME[name]
        page = scene.browsers[name].get(path).text
        seen = {one for one in canaries(found[scene.clinics[word]], word) if one in page}
        assert len(seen) > 2, path
    report = scene.app.test_client().get(
        "/fhir/R4/DiagnosticReport?_include=DiagnosticReport:subject",
        headers=scene.systems["numbat"],
    )
    assert "Henry-Family" in report.text
    tables = {name for word in CAST for name, _ in found[scene.clinics[word]]}
    assert {"sealed_object", "login_session", "key_request", "audit_entry", "consent"} <= tables
    shared = {table.__tablename__ for table in SHARED}
    assert {name for name, _ in found[""]} <= shared | {"audit_entry"}
