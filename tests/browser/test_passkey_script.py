"""Passkeys in a real browser: its virtual authenticator, the portal's own script and policy.

The pages that people see on the way are looked at too: at a phone's width and at a desk's.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from werkzeug.serving import make_server

from tests.portal_tools import another_app, without_second_factor
from tests.world import PASSWORD, World
from tools.installation import ROOT
from tools.ports import free_port
from web.database import db

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "runs" / "screenshots"
WIDTHS = {"phone": 360, "desk": 1280}


@dataclass
class Site:
    url: str
    app: Flask


@pytest.fixture
def site(world: World, database_url: str, tmp_path: Path) -> Iterator[Site]:
    """The portal on a port of this machine, by a name: a bare number can have no passkeys."""
    port = free_port()
    url = f"http://localhost:{port}"
    app = another_app(world, database_url, tmp_path, public_url=url)
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Site(url, app)
    server.shutdown()
    thread.join()
    server.server_close()
    with app.app_context():
        db.engine.dispose()


class Visitor:
    """A browser with a device that verifies its person; it complains about every console error."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self.page: Page = browser.new_context(base_url=site.url).new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.device = self.page.context.new_cdp_session(self.page)
        self.device.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self.device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.authenticator = made["authenticatorId"]

    def _note(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    def verify_nobody(self) -> None:
        told = {"authenticatorId": self.authenticator, "isUserVerified": False}
        self.device.send("WebAuthn.setUserVerified", told)

    def sign_in(self, email: str) -> None:
        self.page.goto("/sign-in")
        self.page.get_by_label("Email address").fill(email)
        self.page.locator('input[name="password"]').fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def make_passkey(self) -> None:
        self.page.goto("/passkeys/new")
        self.page.get_by_label("Name of this passkey").fill("my phone")
        self.page.get_by_role("button", name="Make the passkey").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")

    def look(self, name: str) -> None:
        """The page fits at both widths, and axe finds no serious barrier on it."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for device, width in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.screenshot(path=SCREENSHOTS / f"{name}-{device}.png", full_page=True)
            assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        found = Axe().run(self.page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == [], name


def test_a_passkey_is_made_then_signs_in_alone_and_steps_up(
    browser: Browser, site: Site, world: World
) -> None:
    without_second_factor(world, world.bob)
    bob = Visitor(browser, site)
    bob.sign_in(world.bob.email)
    expect(bob.page).to_have_url(f"{site.url}/second-factor/new")
    bob.look("set-up-codes")
    bob.page.get_by_role("link", name="set up a passkey").click()
    bob.look("set-up-passkey")

    bob.make_passkey()
    bob.look("recovery-codes")
    bob.page.goto("/account")
    bob.look("account-with-passkey")
    bob.page.get_by_role("button", name="Sign out", exact=True).click()

    bob.page.goto("/sign-in")
    bob.look("sign-in")
    bob.page.get_by_role("button", name="Sign in with a passkey").click()
    expect(bob.page).to_have_url(f"{site.url}/review")

    bob.page.goto("/step-up?next=/account")
    bob.look("step-up")
    bob.page.get_by_role("button", name="Use a passkey").click()
    expect(bob.page).to_have_url(f"{site.url}/account")
    assert bob.complaints == []


def test_after_the_password_a_passkey_is_the_second_step(
    browser: Browser, site: Site, world: World
) -> None:
    alice = Visitor(browser, site)
    alice.sign_in(world.alice.email)
    alice.make_passkey()
    alice.page.goto("/account")
    alice.page.get_by_role("button", name="Sign out", exact=True).click()

    alice.sign_in(world.alice.email)
    expect(alice.page.get_by_role("heading", level=1)).to_have_text("Second step")
    alice.page.get_by_role("button", name="Use a passkey").click()

    expect(alice.page).to_have_url(f"{site.url}/cases")
    assert alice.complaints == []


def test_a_device_that_verifies_nobody_is_refused_in_words(
    browser: Browser, site: Site, world: World
) -> None:
    alice = Visitor(browser, site)
    alice.sign_in(world.alice.email)
    alice.make_passkey()
    alice.verify_nobody()
    alice.page.goto("/step-up?next=/account")

    alice.page.get_by_role("button", name="Use a passkey").click()

    said = alice.page.get_by_role("alert").filter(has_text="Nothing was sent")
    expect(said).to_be_visible()
    expect(alice.page).to_have_url(f"{site.url}/step-up?next=/account")


def test_a_password_is_shown_and_hidden_by_its_button(browser: Browser, site: Site) -> None:
    page = Visitor(browser, site).page
    page.set_viewport_size({"width": WIDTHS["phone"], "height": 740})
    page.goto("/sign-in")
    password = page.locator('input[name="password"]')
    box = password.bounding_box()
    assert box is not None
    assert box["width"] > 180, "the button leaves room for the password"
    password.fill("velvet otter cargo")
    expect(password).to_have_attribute("type", "password")

    page.get_by_role("button", name="Show the password").click()
    expect(password).to_have_attribute("type", "text")
    page.get_by_role("button", name="Hide the password").click()

    expect(password).to_have_attribute("type", "password")
    expect(password).to_have_value("velvet otter cargo")


def test_the_pages_about_people_fit_on_every_screen(
    browser: Browser, site: Site, world: World
) -> None:
    without_second_factor(world, world.erin)
    erin = Visitor(browser, site)
    erin.sign_in(world.erin.email)
    erin.make_passkey()
    erin.page.get_by_role("link", name="I have saved them").click()

    erin.page.goto("/people")
    erin.look("people")
    erin.page.get_by_role("button", name="Make an invitation").click()
    erin.look("invitation")
    link = erin.page.locator("code").inner_text()
    erin.page.goto(f"/people/{world.bob.account_id}")
    erin.look("person")
    erin.page.goto(link)
    erin.look("join")
    for path, name in (("/account/password", "change-password"), ("/register", "register")):
        erin.page.goto(path)
        erin.look(name)
    assert erin.complaints == []
