"""Every state of the dermatologist's desk in a real browser, at the widths of a desk and a tablet.

Each state fits its page, does not move while it loads, and gives axe nothing serious to say. Its
pictures are kept in runs/screenshots/desk, to be looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import update

from clinic.body_site import BodySite
from clinic.pathology import PathologySource, Specimen
from clinic.records import pathology, screening_queue
from clinic.records.models import Account, FirstRead, LoginSession, Patient, Submission
from clinic.records.pathology import NewResult
from clinic.submission import ScreeningState
from ml.quality_flag import QualityFlag
from tests.browser.looked_at import looked_at
from tests.browser.portal_site import DrawingAnalyst, Site, Visitor, site, visitor
from tests.browser_session import BrowserSession
from tests.portal_tools import DECISION
from tests.waiting_cases import claim, claim_ran_out, waiting
from tests.world import Person, World, jpeg
from tools.installation import ROOT
from web.portal.wording import reference
from worker.screen_submission import screen

__all__ = ["site"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (1280, 1920, 820)
PICTURES = ROOT / "runs" / "screenshots" / "desk"
MOST_SHIFT = 0.05
STATUS = "[data-viewer-status]"
# A table may scroll inside its frame; here it need not, so that its last column can be pressed.
CUT_TABLES = """[...document.querySelectorAll(".dq-table-frame")]
    .filter((one) => one.scrollWidth > one.clientWidth)
    .map((one) => one.ariaLabel)"""
THREE_PHOTOS = {
    view: jpeg(seed) for seed, view in enumerate(("overview", "close_up", "dermoscopic"), 3)
}
# The computer says melanoma here, and by the clinic's rule an override waits for a second read.
AGREED = {**DECISION, "diagnosis": "mel", "icd10_code": "C43.59", "plan": "biopsy"}
OVERRIDDEN = {**DECISION, "agreement": "override", "override_reason": "dermoscopy"}
MELANOMA = NewResult(
    diagnosis="mel",
    icd10cm="C43.59",
    morphology="8720/3",
    specimen=Specimen.EXCISION,
    source=PathologySource.LABORATORY_REPORT,
    reported_on=date(2026, 11, 2),
    note=None,
)
LONG_WORDS = (
    "Irregular pigment network at the lower edge, blue-grey structures in the middle, a regular "
    "border above. Photographed under poor light."
)


@dataclass
class Reader:
    """A person of the clinic at the desk."""

    visitor: Visitor
    session: BrowserSession

    @property
    def page(self) -> Page:
        return self.visitor.page

    def visit(self, path: str) -> None:
        self.visitor.visit(path)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()
        self.page.wait_for_load_state("networkidle")

    def post(self, path: str, **form: str) -> None:
        """A form sent from another place, as by a script or an earlier page."""
        assert self.session.post(path, form).status_code < 400

    def sees(self, words: str) -> None:
        expect(self.page.get_by_text(words).first).to_be_visible()

    def looks(self, name: str) -> None:
        """The state that is shown now; its photos, if there are any, are open."""
        if self.page.locator(STATUS).count():
            expect(self.page.locator(STATUS)).to_have_text("The photos are open.")
        self.looks_at_once(name)

    def looks_at_once(self, name: str) -> None:
        self.stood_still(name)
        looked_at(self.page, name, PICTURES, WIDTHS)
        self.page.set_viewport_size({"width": min(WIDTHS), "height": 900})
        assert self.page.evaluate(CUT_TABLES) == [], f"{name} cuts tables at {min(WIDTHS)}"
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})

    def stood_still(self, name: str) -> None:
        """Nobody pressed anything that had moved away meanwhile."""
        moved = self.page.evaluate("window.allShifts()")
        assert sum(one["value"] for one in moved) < MOST_SHIFT, (name, moved)


@dataclass
class Desk:
    world: World
    browser: Browser
    site: Site
    readers: list[Reader] = field(default_factory=list)

    def reader(self, person: Person) -> Reader:
        session = BrowserSession.of(self.site.app, self.world, person)
        one = Reader(visitor(self.browser, self.site, session.client), session)
        one.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.readers.append(one)
        return one

    def case(self, *, ai: bool = True) -> str:
        """A case with three photos that waits for a reader."""
        case = self.world.submit(self.world.alice, photos=THREE_PHOTOS, ai=ai)
        screen(self.world.screening(), case)
        return case

    def taken(self, reader: Person, *, ai: bool = True) -> str:
        case = self.case(ai=ai)
        assert claim(self.world, case, reader)
        return case

    def read(self, reader: Person, *, ai: bool = True) -> str:
        """A case of this reader with the first read stored."""
        case = self.taken(reader, ai=ai)
        self.world.read_blind(case, reader)
        return case

    def signed(self, reader: Person) -> str:
        case = self.read(reader)
        self.world.sign(case, reader)
        return case


@pytest.fixture
def desk(world: World, browser: Browser, site: Site) -> Iterator[Desk]:
    world.analyst = DrawingAnalyst(top="mel", flags=(QualityFlag.BLURRED,))
    desk = Desk(world, browser, site)
    yield desk
    said = [words for one in desk.readers for words in one.visitor.complaints]
    for one in desk.readers:
        one.page.context.close()
    # A page that was refused on purpose is told to the console by the browser itself.
    assert [words for words in said if "Failed to load resource" not in words] == []


@pytest.fixture
def bob(desk: Desk) -> Reader:
    return desk.reader(desk.world.bob)


def many_cases(desk: Desk) -> None:
    """More than forty: each urgency, overdue, held by others and by Bob, with long reasons."""
    world = desk.world
    sites = [one for one in BodySite if not one.is_intimate]
    now = datetime.now(UTC)
    for number in range(42):
        waiting(
            world,
            urgency=number % 3,
            due_at=now + timedelta(hours=9 * number - 30),
            received_at=now - timedelta(hours=3 * number + 2),
            body_site=sites[number % len(sites)],
            screening_state=ScreeningState.DONE if number % 7 else ScreeningState.DEAD,
            last_failure=None if number % 7 else "the model files are damaged",
            told_by=now + timedelta(days=28 - number) if number % 5 == 0 else None,
        )
    for _ in range(3):
        desk.case()
    for reader in (world.bob, world.dan):
        desk.taken(reader)


# The queue


def test_the_queue_when_nothing_waits(bob: Reader) -> None:
    bob.visit("/review")
    bob.sees("Nothing is waiting here")
    bob.looks("queue-empty")


def test_the_queue_with_more_than_forty_cases_its_filters_and_its_next_page(
    desk: Desk, bob: Reader
) -> None:
    many_cases(desk)
    bob.visit("/review")
    bob.looks("queue-full")
    bob.page.get_by_text("Keyboard shortcuts").click()
    looked_at(bob.page, "queue-keys", PICTURES, WIDTHS)
    bob.visit("/review?show=urgent&site=back")
    bob.looks("queue-filtered")
    bob.visit("/review")
    bob.page.get_by_role("link", name="More cases").click()
    bob.looks("queue-next-page")


def test_a_case_that_waits_for_new_photos(desk: Desk, bob: Reader) -> None:
    case = desk.read(desk.world.bob)
    bob.visit(f"/review/{case}?open=retake")
    bob.looks("retake-form")
    bob.press("Ask for new photos")
    bob.looks("retake-form-errors")
    bob.page.get_by_label("Not sharp").check()
    bob.page.get_by_label("Glare or flash spot").check()
    bob.press("Ask for new photos")
    bob.sees("The patient is asked for new photos.")
    bob.looks("retake-asked")
    bob.visit("/review?show=waiting")
    bob.looks("queue-waiting-for-photos")
    bob.visit(f"/review/{case}")
    bob.looks("case-waiting-for-photos")


# A case


def test_a_case_that_nobody_or_somebody_else_has(desk: Desk, bob: Reader) -> None:
    bob.visit(f"/review/{desk.case()}")
    bob.looks("case-not-claimed")
    bob.visit(f"/review/{desk.taken(desk.world.dan)}")
    bob.looks("case-of-a-colleague")


def test_a_blind_first_read_and_what_is_wrong_in_it(desk: Desk, bob: Reader) -> None:
    bob.visit(f"/review/{desk.taken(desk.world.bob)}")
    bob.looks("case-blind")
    bob.press("Save first read")
    bob.sees("There is a problem")
    bob.looks("first-read-errors")


def test_the_computers_view_and_what_is_wrong_in_a_decision(desk: Desk, bob: Reader) -> None:
    bob.visit(f"/review/{desk.read(desk.world.bob)}")
    bob.sees("Computer's view")
    bob.looks("case-read")
    bob.press("Check and sign")
    bob.sees("There is a problem")
    bob.looks("decision-errors")


def test_a_case_without_the_computers_view(desk: Desk, bob: Reader) -> None:
    world = desk.world
    case = world.submit(world.alice, photos=THREE_PHOTOS)
    lease = timedelta(seconds=30)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(session, hint=case, lease=lease, limit=1)
        assert screening_queue.give_up(session, held, reason="the model files are damaged")
    assert claim(world, case, world.bob)
    bob.visit(f"/review/{case}")
    bob.looks("ai-unavailable")
    world.read_blind(case, world.bob)
    bob.visit(f"/review/{case}")
    bob.looks("ai-unavailable-read")
    bob.visit(f"/review/{desk.read(world.bob, ai=False)}")
    bob.looks("ai-refused")


def test_a_draft_that_outlives_a_lost_connection(desk: Desk, bob: Reader) -> None:
    case = desk.read(desk.world.bob)
    bob.visit(f"/review/{case}")
    bob.page.context.set_offline(True)
    bob.page.get_by_label("Clinical note").fill(LONG_WORDS)
    bob.sees("Not saved: no connection.")
    looked_at(bob.page, "draft-offline", PICTURES, WIDTHS)
    bob.page.context.set_offline(False)
    bob.sees("Draft saved at")
    bob.visit(f"/review/{case}")
    bob.sees("Your draft of")
    bob.looks("draft-restored")


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_queue_and_case_stand_still_at_each_width(desk: Desk, bob: Reader, width: int) -> None:
    bob.page.set_viewport_size({"width": width, "height": 900})
    for path in ("/review", f"/review/{desk.read(desk.world.bob)}"):
        bob.visit(path)
        bob.stood_still(f"{path} at {width}")


# Signing and what follows


def test_signing_with_a_code_and_the_signed_report(desk: Desk, bob: Reader) -> None:
    case = desk.read(desk.world.bob)
    bob.post(f"/review/{case}/draft", written_as="decision", clinical_note=LONG_WORDS, **AGREED)
    bob.visit(f"/review/{case}/sign")
    bob.looks("sign-preview")
    with desk.world.sessions() as session, session.begin():
        session.execute(update(LoginSession).values(stepped_up_at=None))
    bob.press("Sign and send to the patient")
    bob.looks("step-up")
    bob.press("Confirm")
    bob.looks("step-up-errors")
    with desk.world.sessions() as session, session.begin():
        session.execute(update(LoginSession).values(stepped_up_at=datetime.now(UTC)))
    bob.visit(f"/review/{case}/sign")
    bob.press("Sign and send to the patient")
    bob.sees("Signed. The patient can read it now.")
    bob.looks("signed")


def test_a_letter_that_is_read_from_right_to_left(desk: Desk, bob: Reader) -> None:
    with desk.world.sessions() as session, session.begin():
        session.get_one(Patient, desk.world.alice.patient_id).language = "ar"
    case = desk.read(desk.world.bob)
    bob.post(f"/review/{case}/draft", written_as="decision", **{**AGREED, "patient_text": ""})
    bob.visit(f"/review/{case}")
    bob.press("Fill in both letters")
    bob.sees("There is no reading grade for this language.")
    bob.looks("letter-arabic-form")
    bob.press("Check and sign")
    bob.sees("نريد أن نحلل البقعة في ظهرك")
    bob.looks("letter-arabic-preview")


def test_signed_cases_and_who_answers_for_them(desk: Desk, bob: Reader) -> None:
    bob.visit("/signed")
    bob.looks("signed-none")
    mine, left = desk.signed(desk.world.bob), desk.signed(desk.world.dan)
    bob.visit(f"/review/{left}")
    bob.looks("signed-of-a-colleague")
    with desk.world.sessions() as session, session.begin():
        dan = session.get_one(Account, desk.world.dan.account_id)
        dan.disabled_at = datetime.now(UTC)
    bob.visit("/signed?show=anybody")
    bob.looks("signed-list")
    bob.visit("/signed?show=anybody&case=0000-0000")
    bob.looks("signed-not-found")
    bob.visit("/signed?show=nobody")
    bob.press(f"Take over case {reference(left)}")
    bob.sees("You answer for this report now")
    bob.looks("signed-taken-over")
    bob.visit(f"/review/{mine}")
    bob.page.get_by_text("Let a colleague answer for it").click()
    bob.press("Hand over")
    bob.sees("Choose who answers for the report from now on")
    bob.looks("signed-hand-over-refused")


def test_a_change_of_a_signed_report_and_its_new_version(desk: Desk, bob: Reader) -> None:
    case = desk.signed(desk.world.bob)
    bob.visit(f"/review/{case}/change")
    bob.looks("change-form")
    bob.page.get_by_label("Amend: there is something new").check()
    bob.page.get_by_label("Why").select_option("The result of a skin test came")
    bob.page.get_by_label("Biopsy or excision").check()
    bob.press("Check and sign")
    bob.sees("What changes")
    bob.looks("change-preview")
    bob.press("Sign and send to the patient")
    bob.sees("What version 2 changed")
    bob.looks("amended")
    bob.visit(f"/review/{case}?version=1")
    bob.looks("version-that-counts-no-more")
    bob.visit(f"/review/{case}/addendum")
    bob.looks("addendum-form")


# Colleagues, patients and laboratories


def test_a_second_read_that_is_offered_read_and_answered(desk: Desk, bob: Reader) -> None:
    world, dan = desk.world, desk.reader(desk.world.dan)
    case = desk.read(world.bob)
    bob.visit(f"/review/{case}/second-opinion")
    bob.looks("second-read-ask")
    read = world.ask_second(case, world.bob, of=world.dan)
    bob.visit(f"/review/{case}")
    bob.looks("second-read-asked")
    dan.visit("/second-reads")
    dan.looks("second-read-list")
    dan.visit(f"/second-reads/{read}")
    dan.looks("second-read-offered")
    dan.press("Read this case")
    dan.looks("second-read-reading")
    dan.press("Store my opinion")
    dan.sees("There is a problem")
    dan.looks("second-read-errors")
    dan.page.get_by_label("Melanoma").first.check()
    dan.page.get_by_label("Medium").check()
    dan.page.get_by_label("Biopsy or excision").check()
    dan.page.locator("[name=note]").fill(LONG_WORDS)
    dan.press("Store my opinion")
    dan.sees("Your opinion is stored.")
    dan.looks("second-read-answered")
    world.note(case, world.dan, LONG_WORDS)
    bob.visit(f"/review/{case}")
    bob.sees("medium confidence")
    bob.looks("second-read-answer-at-the-desk")


def test_a_signature_that_the_clinics_rule_holds_for_a_second_read(desk: Desk, bob: Reader) -> None:
    case = desk.read(desk.world.bob)
    bob.post(f"/review/{case}/draft", written_as="decision", **OVERRIDDEN)
    bob.visit(f"/review/{case}/sign")
    bob.press("Sign and send to the patient")
    bob.looks("held-for-a-second-read")


def test_messages_of_patients(desk: Desk, bob: Reader) -> None:
    world = desk.world
    bob.visit("/messages")
    bob.looks("messages-none")
    case = desk.read(world.bob)
    world.message(case, world.alice, "It has started to itch. Is that bad? " * 6)
    bob.visit("/messages")
    bob.looks("messages-inbox")
    world.message(case, world.bob, "No. We call you this week to look at it.")
    world.message(case, world.alice, "Thank you!")
    bob.visit(f"/review/{case}/messages")
    bob.looks("messages-conversation")


def test_notes_of_readers(desk: Desk, bob: Reader) -> None:
    world = desk.world
    case = desk.signed(world.bob)
    world.note(case, world.bob, LONG_WORDS)
    bob.visit(f"/review/{case}")
    bob.sees("Irregular pigment network")
    bob.looks("notes")


def test_pathology_awaited_and_added(desk: Desk, bob: Reader) -> None:
    case = desk.read(desk.world.bob)
    bob.visit("/pathology")
    bob.looks("pathology-none")
    bob.post(f"/review/{case}/sign", action="sign", **AGREED)
    bob.visit("/pathology")
    bob.looks("pathology-awaited")
    bob.visit(f"/review/{case}/pathology")
    bob.looks("pathology-form")
    bob.press("Keep the result")
    bob.sees("There is a problem")
    bob.looks("pathology-form-errors")


def test_how_i_read_with_few_and_with_many_cases(desk: Desk, bob: Reader) -> None:
    world, erin = desk.world, desk.reader(desk.world.erin)
    bob.visit("/reading")
    bob.looks("reading-none")
    for number in range(24):
        case = world.signed(world.alice, world.bob if number % 4 else world.dan)
        if number % 5 == 0:
            with world.sessions() as session, session.begin():
                row = session.get_one(Submission, case)
                pathology.add(session, row, MELANOMA, added_by=world.bob.account_id)
    bob.visit("/reading")
    bob.looks("reading-few")
    with world.sessions() as session, session.begin():
        session.execute(
            update(FirstRead).where(FirstRead.submission_id == case).values(impression="mel")
        )
    for _ in range(6):
        world.signed(world.alice, world.bob)
    bob.visit("/reading")
    bob.looks("reading-many")
    erin.visit("/reading")
    erin.looks("reading-of-the-clinic")


# What goes wrong


def test_what_is_forbidden_and_what_is_not_there(desk: Desk, bob: Reader) -> None:
    bob.visit(f"/review/{desk.signed(desk.world.dan)}")
    bob.looks("403")
    bob.visit(f"/review/{'0' * 32}")
    bob.looks("404")


def test_a_case_that_somebody_else_was_faster_to_take(desk: Desk, bob: Reader) -> None:
    case = desk.case()
    bob.visit("/review")
    assert claim(desk.world, case, desk.world.dan)
    bob.page.get_by_role("button", name="Take case").click()
    bob.looks("409-taken")


def test_a_claim_that_ran_out(desk: Desk, bob: Reader) -> None:
    world = desk.world
    case = desk.taken(world.bob)
    bob.visit(f"/review/{case}")
    claim_ran_out(world, case)
    assert claim(world, case, world.dan)
    bob.press("Save first read")
    bob.sees("You do not hold this case now")
    bob.looks("409-claim-lost")


def test_a_draft_of_two_tabs(desk: Desk, bob: Reader) -> None:
    case = desk.read(desk.world.bob)
    bob.visit(f"/review/{case}")
    bob.post(f"/review/{case}/draft", written_as="decision", draft_revision="0", **AGREED)
    bob.page.get_by_label("Clinical note").fill("Older.")
    bob.sees("You wrote on in another tab.")
    looked_at(bob.page, "409-older-tab-writes", PICTURES, WIDTHS)
    bob.visit(f"/review/{case}/sign")
    bob.post(f"/review/{case}/draft", written_as="decision", **AGREED)
    bob.press("Sign and send to the patient")
    bob.sees("This page is older than what you wrote in another tab.")
    bob.looks("409-older-tab-signs")


def test_a_case_whose_patient_was_erased(desk: Desk, bob: Reader) -> None:
    case = desk.taken(desk.world.bob)
    bob.visit(f"/review/{case}")
    desk.world.eraser.erase(desk.world.alice.patient_id or "", actor="test")
    bob.visit(f"/review/{case}")
    bob.looks("410")


def test_photos_that_are_still_on_their_way(desk: Desk, bob: Reader) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    bob.page.route("**/objects/*", hold)
    bob.page.goto(f"/review/{desk.taken(desk.world.bob)}")
    expect(bob.page.locator(STATUS)).to_have_text("Opening the photos…")
    bob.looks_at_once("photos-loading")
    for route in held:
        route.continue_()


def test_photos_that_cannot_be_opened(desk: Desk, bob: Reader) -> None:
    case = desk.taken(desk.world.bob)
    hints = desk.world.hints

    def stop_the_keeper(route: Route) -> None:
        hints.down = True
        route.continue_()

    bob.page.route("**/grants", stop_the_keeper)
    bob.page.goto(f"/review/{case}")
    bob.sees("The photos cannot be opened just now.")
    bob.looks_at_once("photos-refused")
    bob.visit(f"/review/{case}")
    bob.sees("A part of the service is resting")
    bob.looks("503")
