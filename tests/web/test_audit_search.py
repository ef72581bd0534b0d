"""Auditors search by time, patient, person, action and answer, and take a table along."""

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from clinic.audit_event import AuditAction
from clinic.records.db import database_now
from clinic.records.models import AuditEntry, Patient
from tests.browser_session import BrowserSession
from tests.portal_tools import entries, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def grace(signed_in: SignedIn) -> BrowserSession:
    return signed_in("grace")


def table(browser: BrowserSession, **query: str) -> list[dict[str, str]]:
    answer = browser.get("/audit.csv", query_string=query)
    assert answer.status_code == 200, answer.text
    assert answer.content_type.startswith("text/csv")
    assert answer.headers["Cache-Control"] == "no-store"
    return list(csv.DictReader(io.StringIO(answer.text)))


def record(world: World, actor: str, **about: str | bool | None) -> None:
    with world.sessions() as session, session.begin():
        clinic = about.pop("clinic_id", world.clinic_id)
        world.auditor.record(session, AuditAction.CASE_READ, actor, clinic_id=clinic, **about)


def test_each_filter_finds_its_own(world: World, grace: BrowserSession) -> None:
    with world.sessions() as session:
        number = session.get_one(Patient, world.alice.patient_id).record_number
    record(world, "one", patient_id=world.alice.patient_id)
    record(world, "two", patient_id=world.carol.patient_id, allowed=False)

    def actors(**query: str) -> list[str]:
        return [one["actor"] for one in table(grace, action="case:read", **query)]

    assert actors() == ["two", "one"]
    assert actors(patient=number.lower()) == ["one"]
    assert actors(patient=world.carol.patient_id or "") == ["two"]
    assert actors(patient="DQ-NOBODY") == []
    assert actors(allowed="yes") == ["one"]
    assert actors(allowed="no") == ["two"]
    assert actors(actor="one") == ["one"]


def test_days_are_whole_and_of_the_clinic(world: World, grace: BrowserSession) -> None:
    record(world, "today")
    record(world, "long ago")
    with world.sessions() as session, session.begin():
        now = database_now(session)
        old = update(AuditEntry).where(AuditEntry.actor == "long ago")
        session.execute(old.values(at=now - timedelta(days=40)))

    def actors(**days: str) -> list[str]:
        return [one["actor"] for one in table(grace, action="case:read", **days)]

    def day(ago: int) -> str:
        return f"{now - timedelta(days=ago):%Y-%m-%d}"

    assert actors(**{"from": day(41), "to": day(39)}) == ["long ago"]
    assert actors(**{"from": day(1)}) == ["today"]
    assert actors(to=day(40)) == ["long ago"]


def test_people_are_told_by_name_and_patients_by_number(
    world: World, grace: BrowserSession
) -> None:
    record(world, world.bob.account_id)
    record(world, world.alice.account_id)
    record(world, "worker")
    with world.sessions() as session:
        number = session.get_one(Patient, world.alice.patient_id).record_number

    page = grace.get("/audit").text
    names = {one["actor"]: one["name"] for one in table(grace, action="case:read")}

    assert names == {
        world.bob.account_id: "Reader Bob, dermatologist",
        world.alice.account_id: f"Patient {number}",
        "worker": "",
    }
    assert set(names.values()) - {""} <= set(re.findall(r">([^<>]+)</a>", page))
    assert f'<option value="{world.bob.account_id}">Reader Bob, dermatologist</option>' in page
    assert "Alice-Family" not in page


def test_of_a_name_in_the_table_all_entries_are_found(world: World, grace: BrowserSession) -> None:
    record(world, world.alice.account_id)
    record(world, "worker")

    link = re.search(r'href="(/audit[^"]*actor=worker[^"]*)"', grace.get("/audit").text)
    assert link is not None
    page = words(grace.get(link[1].replace("&amp;", "&")).text)

    assert "worker case:read" in page
    assert "Patient" not in page.partition("Entries")[2]


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "to=2026-13-01", "allowed=perhaps", "action=made:up", "from=0001-01-01"],
)
def test_a_wrong_filter_is_told_what_to_write(grace: BrowserSession, query: str) -> None:
    for path in ("/audit", "/audit.csv"):
        answer = grace.get(f"{path}?{query}")
        assert answer.status_code == (200 if "0001" in query else 400)


def test_a_table_is_an_audit_entry_that_keeps_no_typed_word(
    world: World, grace: BrowserSession
) -> None:
    table(grace, patient="Ada Okafor", actor="secret")

    (entry,) = entries(world, AuditAction.AUDIT_EXPORTED)
    assert entry.detail == "0 entries: all, actor, patient"


def test_a_cell_is_never_a_formula(world: World, grace: BrowserSession) -> None:
    record(world, "=1+1")
    (line,) = table(grace, action="case:read")
    assert line["actor"] == "'=1+1"


def test_a_table_is_of_the_own_clinic_alone(world: World, grace: BrowserSession) -> None:
    record(world, "stranger", clinic_id=world.other_clinic_id)
    assert table(grace, actor="stranger") == []


def test_the_next_page_keeps_the_filters(world: World, grace: BrowserSession) -> None:
    for _ in range(51):
        record(world, "somebody", allowed=False)
    page = grace.get("/audit?actor=somebody&allowed=no").text
    assert "allowed=no" in page
    assert "actor=somebody" in page
