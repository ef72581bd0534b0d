"""The scripts of the reader's form in a browser: drafts, codes found by name, the reading grade."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, Page, expect

from clinic.reading_grade import reading_grade, syllables
from tests.browser.sealing_site import Reply, Request, Site, running_site

pytestmark = pytest.mark.browser

STATUS, ALERT = "[data-draft-status]", "[data-draft-alert]"
CODES = [
    {"code": "D22.5", "title": "Melanocytic nevi of trunk", "group": "nv"},
    {"code": "D22.9", "title": "Melanocytic nevi, unspecified", "group": "nv"},
]
TEXTS = (
    "",
    "The spot looks harmless. You do not need a visit.",
    "We couldn\u2019t tell; please come!\n\nDermatological examination is necessary.",
    "Histopathology demonstrated compound melanocytic proliferation, therefore excised.",
)


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


class Server:
    """Keeps what the form saves; `status` is what it answers next."""

    def __init__(self, site: Site) -> None:
        self.status = 200
        self.saved: list[dict[str, list[str]]] = []
        site.answer("POST", "/draft", self.save)
        site.answer("POST", "/codes", lambda _: Reply(body=json.dumps({"codes": CODES}).encode()))

    def save(self, request: Request) -> Reply:
        self.saved.append(parse_qs(request.body.decode(), keep_blank_values=True))
        body = {"revision": len(self.saved), "saved_at": "2026-11-23T09:30:00+00:00"}
        return Reply(status=self.status, body=json.dumps(body).encode())


@pytest.fixture
def server(site: Site) -> Server:
    return Server(site)


@pytest.fixture
def page(browser: Browser, site: Site, server: Server) -> Iterator[Page]:
    assert server.saved == []
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/decision.html")
    yield page
    context.close()


def test_what_is_typed_is_saved_and_the_next_save_knows_the_revision(
    page: Page, server: Server
) -> None:
    page.fill("#patient_text", "Half a sen")
    expect(page.locator(STATUS)).to_contain_text("Draft saved at")
    page.fill("#patient_text", "Half a sentence")
    expect(page.locator(STATUS)).to_contain_text("Not saved yet")
    expect(page.locator(STATUS)).to_contain_text("Draft saved at")

    assert [one["draft_revision"] for one in server.saved] == [["0"], ["1"]]
    assert server.saved[-1]["patient_text"] == ["Half a sentence"]
    assert server.saved[-1]["written_as"] == ["decision"]


@pytest.mark.parametrize(
    ("status", "said"),
    [(409, "another tab"), (403, "you do not hold this case"), (410, "not here any more")],
)
def test_a_page_that_may_save_no_more_says_so_once_and_keeps_what_was_typed(
    page: Page, server: Server, status: int, said: str
) -> None:
    server.status = status
    page.fill("#patient_text", "Mine")
    expect(page.locator(ALERT)).to_contain_text(said)
    page.fill("#patient_text", "Mine still")
    page.evaluate("new Promise((done) => setTimeout(done, 3500))")

    assert len(server.saved) == 1
    assert page.input_value("#patient_text") == "Mine still"


@pytest.mark.parametrize(("status", "said"), [(401, "signed out"), (413, "too long")])
def test_a_passing_refusal_is_told_and_the_next_word_is_tried_again(
    page: Page, server: Server, status: int, said: str
) -> None:
    server.status = status
    page.fill("#patient_text", "One")
    expect(page.locator(STATUS)).to_contain_text(said)
    expect(page.locator(ALERT)).to_be_hidden()
    server.status = 200
    page.fill("#patient_text", "Two")
    expect(page.locator(STATUS)).to_contain_text("Draft saved at")


def test_a_lost_connection_is_told_and_what_was_typed_is_saved_when_it_is_back(
    page: Page, server: Server
) -> None:
    page.context.set_offline(True)
    page.fill("#patient_text", "Written in a tunnel")
    expect(page.locator(STATUS)).to_contain_text("no connection")
    page.context.set_offline(False)
    expect(page.locator(STATUS)).to_contain_text("Draft saved at")

    assert server.saved[-1]["patient_text"] == ["Written in a tunnel"]


def test_a_code_is_found_by_name_and_chosen_with_keys(page: Page) -> None:
    code = page.locator("#icd10_code")
    code.press_sequentially("mole")
    options = page.locator("[role=option]")
    expect(options).to_have_count(2)
    assert code.get_attribute("aria-expanded") == "true"
    code.press("ArrowDown")
    code.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert code.get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    code.press("Enter")

    expect(code).to_have_value("D22.9")
    expect(page.locator("[data-code-title]")).to_have_text("Melanocytic nevi, unspecified")
    expect(page.locator("[role=listbox]")).to_be_hidden()
    assert page.is_checked("input[value=nv]")
    assert page.url.endswith("decision.html")  # Enter chose; it did not send the form


def test_a_code_is_chosen_with_a_pointer_and_escape_closes_the_list(page: Page) -> None:
    code = page.locator("#icd10_code")
    code.press_sequentially("mole")
    page.locator("[role=option]").first.click()
    expect(code).to_have_value("D22.5")
    code.press_sequentially("x")
    expect(page.locator("[role=option]")).to_have_count(2)
    code.press("Escape")
    expect(page.locator("[role=listbox]")).to_be_hidden()
    expect(code).to_have_value("D22.5x")


def test_letters_are_filled_in_and_the_meter_follows(page: Page, site: Site) -> None:
    texts = {"patient_text": TEXTS[1], "letter_template": "en/patient-biopsy 1"}
    answer = {"texts": texts, "notes": ["Read it first."]}
    site.answer("POST", "/letters", lambda _: Reply(body=json.dumps(answer).encode()))
    page.click("[data-fill-letters]")

    expect(page.locator("#patient_text")).to_have_value(TEXTS[1])
    expect(page.locator("[data-letters-status]")).to_have_text("Read it first.")
    expect(page.locator("[data-grade-of]")).to_contain_text("Reading grade")
    assert page.input_value("[name=letter_template]") == "en/patient-biopsy 1"


def test_letters_that_cannot_be_had_leave_the_texts_alone(page: Page, site: Site) -> None:
    site.answer("POST", "/letters", lambda _: Reply(status=503))
    page.fill("#patient_text", "Mine")
    page.click("[data-fill-letters]")

    expect(page.locator("[data-letters-status]")).to_contain_text("could not be filled in")
    expect(page.locator("#patient_text")).to_have_value("Mine")


@pytest.mark.parametrize("text", TEXTS)
def test_the_browser_and_the_server_count_the_same_grade(page: Page, text: str) -> None:
    module = "import('/static/js/reading-grade.js')"
    found = page.evaluate(f"(text) => {module}.then((one) => one.readingGrade(text))", text)
    assert found == pytest.approx(reading_grade(text))
    words = text.replace("\n", " ").split()
    counted = page.evaluate(f"(words) => {module}.then((one) => words.map(one.syllables))", words)
    assert counted == [syllables(word) for word in words]
