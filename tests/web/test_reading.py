"""How cases are read: a reader's own page, and the administrator's of the whole clinic."""

from collections.abc import Callable
from datetime import date, timedelta

from sqlalchemy import update

from clinic.audit_event import AuditAction
from clinic.pathology import PathologySource, Specimen
from clinic.reading_summary import FEWEST_CASES
from clinic.records import pathology, reading_cases
from clinic.records.models import FirstRead, ScreeningResult, SignedReport, Submission
from clinic.records.pathology import NewResult
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, entries, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


BASAL_CELL_CARCINOMA = NewResult(
    diagnosis="bcc",
    icd10cm="C44.519",
    morphology=None,
    specimen=Specimen.EXCISION,
    source=PathologySource.LABORATORY_REPORT,
    reported_on=date(2026, 11, 2),
    note=None,
)


def cases_of(world: World, **about):
    with world.sessions() as session:
        return reading_cases.read_cases(
            session, clinic_id=world.clinic_id, signed_within=timedelta(days=30), **about
        )


@both_databases
def test_a_signed_case_counts_with_what_each_side_said(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    world.first_read(world.alice, world.dan)
    with world.sessions() as session, session.begin():
        session.execute(update(FirstRead).values(impression="mel"))
        report = session.query(SignedReport).one()
        report.agreement, report.override_reason = "override", "history"

    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        pathology.add(session, row, BASAL_CELL_CARCINOMA, added_by=world.bob.account_id)

    (found,) = cases_of(world)

    assert (found.reader_id, found.model_version) == (world.bob.account_id, "fake-1")
    assert (found.first, found.computer, found.final) == ("mel", "nv", "nv")
    assert (found.urgency, found.sorted_as, found.overrode) == (2, 2, True)
    assert found.pathology == "bcc"
    assert found.received_at <= found.started_at <= found.signed_at
    assert cases_of(world, reader_id=world.dan.account_id) == []
    with world.sessions() as session:
        far = reading_cases.read_cases(
            session, clinic_id=world.other_clinic_id, signed_within=timedelta(days=30)
        )
    assert far == []


def test_a_case_that_the_computer_did_not_see_counts_without_it(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        session.delete(session.get_one(ScreeningResult, case))

    (found,) = cases_of(world)

    assert (found.computer, found.model_version) == (None, None)


def test_what_was_signed_before_the_period_does_not_count(world: World) -> None:
    world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        report = session.query(SignedReport).one()
        report.signed_at -= timedelta(days=31)
    assert cases_of(world) == []


def test_few_cases_are_counted_and_no_figure_of_them_is_told(
    world: World, signed_in: SignedIn
) -> None:
    world.signed(world.alice, world.bob)

    page = words(signed_in("bob").get("/reading").text)

    assert "Cases that you signed in the last 90 days: 1." in page
    assert "too few cases n 1" in page
    assert "in 100 (" not in page
    (read,) = entries(world, AuditAction.READING_READ)
    assert (read.actor, read.detail) == (world.bob.account_id, "90 days, 1 cases")


def test_enough_cases_give_figures_with_their_intervals(
    world: World, signed_in: SignedIn, monkeypatch
) -> None:
    monkeypatch.setattr("web.portal.reading_view.FEWEST_CASES", 2)
    for patient in (world.alice, world.carol):
        world.signed(patient, world.bob)
    with world.sessions() as session, session.begin():
        report = session.query(SignedReport).first()
        report.agreement, report.override_reason = "override", "history"

    page = words(signed_in("bob").get("/reading").text)

    assert "50 in 100 (9 to 91) n 2" in page
    assert "100 in 100 (34 to 100) n 2" in page, "both were signed in time"
    assert "one side always said the same n 2" in page


def test_a_reader_sees_nobody_else_s_cases_and_an_administrator_sees_each_reader_s(
    world: World, signed_in: SignedIn
) -> None:
    world.signed(world.alice, world.bob)
    world.signed(world.carol, world.dan)

    own = words(signed_in("bob").get("/reading").text)
    clinic = words(signed_in("erin").get("/reading").text)

    assert "Cases that you signed in the last 90 days: 1." in own
    assert "Reader Dan" not in own
    assert "Cases that this clinic signed in the last 90 days: 2." in clinic
    assert "Reader Bob" in clinic
    assert "Reader Dan" in clinic
    assert "Model fake-1" in clinic


def test_a_period_that_does_not_exist_is_not_found(world: World, signed_in: SignedIn) -> None:
    assert world.bob
    bob = signed_in("bob")
    assert bob.get("/reading?days=7").status_code == 404
    empty = words(bob.get("/reading?days=365").text)
    assert "Nothing was signed in this time." in empty


def test_the_fewest_cases_of_a_figure_are_said_on_the_page(signed_in: SignedIn) -> None:
    page = words(signed_in("bob").get("/reading").text)
    assert f"A figure of fewer than {FEWEST_CASES} cases is not told." in page
