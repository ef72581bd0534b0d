"""Second reads and messages in a real browser: both readers, the patient, three widths, and axe."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from clinic.access import Role
from clinic.records import second_reads
from tests.browser import looked_at as looking
from tests.browser.portal_site import DrawingAnalyst, Site, Visitor, site, visitor
from tests.browser_session import BrowserSession
from tests.world import World

__all__ = ["site"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDTHS = (1280, 360, 1920)


def looked_at(one: Visitor, name: str, folder: Path) -> None:
    looking.looked_at(one.page, name, folder, WIDTHS)


def fill(page: Page, **values: str) -> None:
    for name, value in values.items():
        page.locator(f"[name={name}]").fill(value)


def test_two_readers_and_a_patient_at_work(
    browser: Browser, site: Site, world: World, tmp_path: Path
) -> None:
    world.analyst = DrawingAnalyst(top="mel")
    gina = world.add_person("gina", Role.DERMATOLOGIST)
    case = world.first_read(world.alice, world.bob)
    people = (world.bob, world.dan, world.alice, world.erin, gina)
    bob, dan, alice, erin, third = (
        visitor(browser, site, BrowserSession.of(site.app, world, person).client)
        for person in people
    )

    bob.visit(f"/review/{case}")
    bob.page.get_by_role("link", name="Ask for a second opinion").click()
    looked_at(bob, "ask", tmp_path)
    bob.page.get_by_label("Blind: they do not see").check()
    bob.page.get_by_label("Whom do you ask?").select_option("Reader Dan")
    fill(bob.page, question="Would you let this one go?")
    bob.page.get_by_role("button", name="Ask", exact=True).click()
    bob.page.get_by_text("Your question is with your colleagues.").wait_for()
    looked_at(bob, "desk-waiting", tmp_path)

    dan.visit("/second-reads")
    looked_at(dan, "list", tmp_path)
    dan.page.locator("main th a").first.click()
    looked_at(dan, "offered", tmp_path)
    dan.page.get_by_role("button", name="Read this case").click()
    dan.page.wait_for_load_state("networkidle")
    looked_at(dan, "reading", tmp_path)
    assert "Computer's view" not in dan.page.locator("main h2").all_inner_texts()
    dan.page.get_by_label("Melanoma").first.check()
    dan.page.get_by_label("Medium").check()
    dan.page.get_by_label("Biopsy or excision").check()
    fill(dan.page, note="Atypical network at the lower edge.")
    dan.page.get_by_role("button", name="Store my opinion").click()
    dan.page.get_by_text("Your opinion is stored.").wait_for()
    dan.page.wait_for_load_state("networkidle")
    looked_at(dan, "answered", tmp_path)
    assert "Computer's view" in dan.page.locator("main h2").all_inner_texts()

    alice.visit(f"/cases/{case}/messages")
    fill(alice.page, message="It has started to itch. Is that bad?")
    alice.page.get_by_role("button", name="Send").click()
    looked_at(alice, "my-messages", tmp_path)
    bob.visit("/messages")
    looked_at(bob, "inbox", tmp_path)
    bob.page.get_by_role("link", name="Answer").click()
    fill(bob.page, message="No. We call you this week to look at it.")
    bob.page.get_by_role("button", name="Send to the patient").click()
    looked_at(bob, "case-messages", tmp_path)
    alice.visit("/cases")
    looked_at(alice, "dashboard", tmp_path)

    world.note(case, world.bob, "Her mother had a melanoma. I would rather see her.")
    bob.visit(f"/review/{case}")
    looked_at(bob, "desk-answered", tmp_path)
    world.sign(case, world.bob)
    world.second_read(case, world.bob, gina, diagnosis="mel", plan="biopsy")
    with world.sessions() as session:
        assert second_reads.open_of_case(session, case) is not None
    bob.visit(f"/review/{case}")
    looked_at(bob, "signed", tmp_path)
    erin.visit("/double-reads")
    looked_at(erin, "double-reads", tmp_path)
    third.visit("/review")
    looked_at(third, "queue", tmp_path)

    assert [said for one in (bob, dan, alice, erin, third) for said in one.complaints] == []
