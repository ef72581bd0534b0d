"""Ten cases read and signed by keyboard alone: the real system and model, a real browser."""

import sys
from dataclasses import dataclass

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update

from clinic.access import Role
from clinic.records.models import LoginSession, Submission
from clinic.submission import CaseState
from tests.browser.test_journey import DESK, Visitor, await_photo, open_link
from tools.lesion_drawing import draw_lesion
from tools.portal_client import wait_for_fresh_code
from tools.running import Running
from tools.sealed_cases import CaseSender, as_jpeg

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CASES = 10
MOST_KEYS = 40  # of one case, a code of the second factor apart
GROUPS = ("mel", "bcc", "akiec", "nv", "bkl", "df", "vasc")
CODE = "D22.5"
NEVUS = str(GROUPS.index("nv") + 1)


@dataclass
class Keyboard:
    """The keys of a reader, counted. Nothing here touches the mouse or a field directly."""

    page: Page
    pressed: int = 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.pressed += 1

    def tab_to(self, name: str) -> None:
        """Go on to the field of this name, as a person does who looks where the focus is."""
        for _ in range(8):
            self.press("Tab")
            if self.page.evaluate("document.activeElement.name ?? ''") == name:
                return
        pytest.fail(f"{name} is too far away")


def at_start(page: Page, heading: str) -> None:
    """The page is there, its keys listen, and its focus is where work begins."""
    place = page.locator("[data-start]")
    expect(place).to_have_text(heading)
    expect(place).to_be_focused()


def read_blind(keys: Keyboard) -> None:
    at_start(keys.page, "Your first read")
    expect(keys.page.get_by_text("The photos are open.")).to_be_visible()
    await_photo(keys.page)
    keys.tab_to("impression")
    keys.press(NEVUS)
    keys.tab_to("confidence")
    keys.press("2")
    keys.tab_to("urgency")
    keys.press("3", "s")


def decide(keys: Keyboard) -> None:
    page = keys.page
    at_start(page, "Your decision")
    likeliest = page.locator(".dq-bar__name").first.inner_text()
    keys.tab_to("diagnosis")
    keys.press(NEVUS)
    keys.tab_to("icd10_code")
    keys.press(*CODE)
    expect(page.locator(".dq-code__option").first).to_contain_text("Melanocytic nevi of trunk")
    keys.tab_to("confidence")
    keys.press("1")
    keys.tab_to("image_quality")
    keys.press("1")
    keys.tab_to("agreement")
    if likeliest.startswith("Melanocytic nevus"):
        keys.press("1")
    else:
        keys.press("2")
        keys.tab_to("override_reason")
        keys.press("ArrowDown")
    keys.tab_to("plan")
    keys.press("1", "l")
    expect(page.locator("[data-letters-status]")).to_contain_text("Both letters are filled in.")
    keys.press("s")


def prove_who_it_is(keys: Keyboard, secret: str) -> None:
    expect(keys.page.get_by_label("Code")).to_be_focused()
    wait_for_fresh_code()
    keys.page.keyboard.type(pyotp.TOTP(secret).now())
    keys.page.keyboard.press("Enter")


def sign(keys: Keyboard, secret: str, *, first: bool) -> None:
    page = keys.page
    expect(page.get_by_role("heading", level=1)).to_contain_text("Check and sign")
    expect(page.locator("[data-start]")).to_be_focused()
    keys.press("y")
    if first:
        prove_who_it_is(keys, secret)
        expect(page.locator("h1[data-start]")).to_be_focused()
        keys.press("y")
    expect(page.get_by_text("Signed. The patient can read it now.")).to_be_visible()
    expect(page.locator("[data-start]")).to_be_focused()


def let_the_proof_grow_old(running: Running) -> None:
    """As after a quarter of an hour: the first signature asks who it is."""
    with running.installation.sessions()() as session, session.begin():
        session.execute(update(LoginSession).values(stepped_up_at=None))


def states(running: Running, cases: list[str]) -> list[str]:
    with running.installation.sessions()() as session:
        found = select(Submission.case_state).where(Submission.id.in_(cases))
        return list(session.scalars(found))


def test_a_dermatologist_reads_and_signs_ten_cases_by_keyboard_alone(
    running: Running, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [as_jpeg(draw_lesion(seed, (800, 600))) for seed in range(30, 30 + CASES)]
    sender = CaseSender.of(running.installation, *photos)
    sender.send_together(CASES)
    with running.installation.sessions()() as session:
        cases = list(session.scalars(select(Submission.id)))
    for case in cases:
        running.await_result(case)

    reader = Visitor(browser, running, DESK)
    open_link(reader, running, Role.DERMATOLOGIST)
    let_the_proof_grow_old(running)
    secret = running.people[Role.DERMATOLOGIST].totp_secret or ""
    reader.page.goto("/review")
    expect(reader.page.locator("[data-keys]")).to_have_js_property("hidden", False)

    counts = []
    for number in range(CASES):
        keys = Keyboard(reader.page)
        keys.press("n")
        read_blind(keys)
        decide(keys)
        sign(keys, secret, first=number == 0)
        counts.append(keys.pressed)
    with capsys.disabled():
        sys.stdout.write(f"\nkey presses of each case: {counts}\n")

    assert states(running, cases) == [CaseState.SIGNED] * CASES
    assert max(counts) <= MOST_KEYS
    reader.page.keyboard.press("n")
    expect(reader.page.get_by_text("Nothing is waiting here")).to_be_visible()
    assert reader.complaints == []
    reader.page.context.close()
