"""One photo from a phone to a signed report: the real system, a real browser, read as a story.

The system runs as `bin/demo` runs it, in a folder whose name has a space, over the trained bundle.
The screenshots of docs/img come from here (`make screenshots`).
"""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from clinic.access import Role
from clinic.fhir_checks import problems
from tools import installation as setup
from tools.installation import ROOT
from tools.lesion_drawing import draw_lesion
from tools.portal_client import PortalClient, wait_for_fresh_code
from tools.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
SCREENSHOTS = ROOT / "runs" / "screenshots"
LETTER = "This spot looks harmless. Keep an eye on it. Call us if it grows or bleeds."


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "spot.jpg"
    out = io.BytesIO()
    draw_lesion(30, (1600, 1200)).save(out, "JPEG", quality=93)
    path.write_bytes(out.getvalue())
    return path


class Visitor:
    """A person's browser window that complains about every console error and foreign request."""

    def __init__(self, browser: Browser, running: Running, size: dict[str, int]) -> None:
        self.base = running.installation.public_url
        self.context = browser.new_context(base_url=self.base, viewport=size)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.shown: set[str] = set()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._check_host)

    def _note(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _check_host(self, request) -> None:
        self.shown.add(request.url)
        if not request.url.startswith((self.base, "blob:", "data:")):
            self.complaints.append(f"request to {request.url}")

    def shot(self, name: str) -> None:
        """Keep a picture of the page, and let axe look for serious barriers on it."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.shown.add(self.page.title())
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
        found = Axe().run(self.page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in {"serious", "critical"}]
        assert serious == [], f"axe on {name}"

    def fits(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def open_link(visitor: Visitor, running: Running, role: Role) -> None:
    links = setup.sign_in_links(running.installation, list(running.people.values()))
    visitor.page.goto(links[role])
    visitor.page.get_by_role("button", name="Sign in").click()


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'input[name="{name}"][value="{value}"]').check()


def fill_in_history(page: Page) -> None:
    answers = {
        "spot_count": "1",
        "can_be_photographed": "yes",
        "side": "left",
        "onset": "months",
        "change_in_size": "yes",
        "sex": "female",
        "skin_type": "II",
    }
    no = (
        "irregular_shape irregular_colour diameter_7_mm inflammation oozing change_in_sensation "
        "bleeding not_healing_4_weeks firm_growing_lump pink_and_changing new_nail_streak "
        "own_skin_cancer family_skin_cancer immunosuppressed"
    )
    page.locator('select[name="site"]').select_option("back")
    for name, value in {**answers, **dict.fromkeys(no.split(), "no")}.items():
        choose(page, name, value)


def await_photo(page: Page) -> None:
    """The policy of the pages forbids Playwright's own waiting function: it would need eval."""
    for _ in range(100):
        if page.evaluate("[...document.querySelectorAll('canvas')].some((one) => one.width > 300)"):
            return
        page.wait_for_timeout(200)
    pytest.fail("no photo was opened")


def test_a_photo_goes_from_the_phone_to_a_signed_report(
    running: Running, browser: Browser, photo: Path
) -> None:
    patient = Visitor(browser, running, PHONE)
    open_link(patient, running, Role.PATIENT)
    expect(patient.page.get_by_role("heading", name="My cases", exact=True)).to_be_visible()
    patient.shot("dashboard-empty-phone")

    # The patient answers the questions and takes two photos; the browser seals and sends them.
    patient.page.goto("/cases/new")
    fill_in_history(patient.page)
    patient.page.set_input_files("#photo_close_up", photo)
    patient.page.set_input_files("#photo_dermoscopic", photo)
    expect(patient.page.locator('[data-preview="close_up"]')).to_be_visible()
    patient.shot("new-case-phone")
    assert patient.fits()
    patient.page.locator("form[data-case-form] button[type=submit]").last.click()
    patient.page.wait_for_url(re.compile(r"/cases/[0-9a-f]{32}$"))
    case_id = patient.page.url.rsplit("/", 1)[1]
    running.await_result(case_id)

    # Before a signature there is a status and a date, and no word of the computer's view.
    patient.page.reload()
    before = patient.page.content()
    assert "Melanoma" not in before
    assert "%" not in patient.page.inner_text("main")
    await_photo(patient.page)
    patient.shot("status-phone")
    patient.page.goto("/cases")
    patient.shot("dashboard-phone")

    # The dermatologist signs in with both factors and takes the case that is due first.
    reader = Visitor(browser, running, DESK)
    person = running.people[Role.DERMATOLOGIST]
    reader.page.goto("/sign-in")
    reader.page.fill('input[name="email"]', person.email)
    reader.page.fill('input[name="password"]', person.password)
    reader.shot("sign-in-desk")
    reader.page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    wait_for_fresh_code()
    reader.page.fill('input[name="code"]', pyotp.TOTP(person.totp_secret or "").now())
    reader.page.get_by_role("main").get_by_role("button").first.click()
    expect(reader.page.get_by_role("heading", level=1)).to_be_visible()
    reader.shot("review-queue")
    reader.page.get_by_role("button", name="Take next case").click()
    reader.page.wait_for_url(f"**/review/{case_id}")

    # The first read is blind: no heat-map, no probability, also not for a curious script.
    expect(reader.page.get_by_text("The photos are open.")).to_be_visible()
    expect(reader.page.locator("figure[data-shown]")).to_have_count(2)
    assert reader.page.locator("[data-layer]").count() == 0
    assert "probability" not in reader.page.inner_text("main").lower()
    reader.shot("review-blind")
    choose(reader.page, "impression", "nv")
    choose(reader.page, "confidence", "medium")
    choose(reader.page, "urgency", "routine")
    reader.page.locator('form[action$="/first-read"] button').click()

    # Then the computer's view, with the heat-map over the photo.
    expect(reader.page.get_by_text("The photos are open.")).to_be_visible()
    expect(reader.page.locator("[data-layer]").first).to_be_visible()
    reader.shot("review-desk")
    reader.page.locator("[data-opacity]").first.fill("90")

    fields = {
        "diagnosis": "nv",
        "confidence": "high",
        "image_quality": "good",
        "plan": "benign_advice",
        "agreement": "override",
    }
    desk = reader.page.locator('form[action$="/sign"]')
    for name, value in fields.items():
        desk.locator(f'input[name="{name}"][value="{value}"]').check()
    desk.locator('select[name="override_reason"]').select_option("clinical_features")
    desk.locator('input[name="icd10_code"]').fill("D22.5")
    desk.locator('textarea[name="patient_text"]').fill(LETTER)
    desk.get_by_role("button", name="Check and sign").click()
    expect(reader.page.get_by_text(LETTER)).to_be_visible()
    reader.shot("sign-review")
    reader.page.get_by_role("button", name="Sign and send to the patient").click()
    expect(reader.page.get_by_text("Signed. The patient can read it now.")).to_be_visible()
    reader.shot("signed-case")

    # The patient reads the doctor's words, who signed, and who opened the record.
    patient.page.goto(f"/cases/{case_id}")
    expect(patient.page.get_by_text(LETTER)).to_be_visible()
    expect(patient.page.get_by_text("DEMO-0001")).to_be_visible()
    patient.shot("patient-result")
    patient.page.goto("/my-record/access")
    expect(patient.page.get_by_text("signed your result")).to_be_visible()
    patient.shot("access-log-phone")

    # The record system gets one sound FHIR report, and nobody else gets it.
    ehr = PortalClient(running.installation.base_url)
    report = ehr.fhir(f"DiagnosticReport/{case_id}", running.ehr_token)
    assert report["status"] == "final"
    assert problems(report) == []
    ehr.close()

    administrator = Visitor(browser, running, DESK)
    open_link(administrator, running, Role.ADMINISTRATOR)
    expect(administrator.page.get_by_text("Intact")).to_be_visible()
    administrator.shot("operations")

    for visitor in (patient, reader, administrator):
        assert visitor.complaints == []
        assert personal_words(visitor.shown, running) == []
        visitor.context.close()
    logs = [path.read_text() for path in (running.installation.folder / "logs").iterdir()]
    assert personal_words(logs, running) == []
    assert not [one for one in logs if case_id in one]


def personal_words(texts: Iterable[str], running: Running) -> list[str]:
    """Which of these addresses, titles or logs say who somebody is or what they have."""
    secret = {one for person in running.people.values() for one in (person.email, person.password)}
    words = {*secret, "Patient Demo", "1974-04-12", "nevus", "D22.5", LETTER[:20]}
    return [text for text in texts if any(word.lower() in text.lower() for word in words)]
