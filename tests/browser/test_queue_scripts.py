"""Single keys, numbers that refresh themselves, and the claim that activity renews."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.sealing_site import Reply, Request, Site, running_site

pytestmark = pytest.mark.browser

MINUTE = 61_000
CLAIM = "[data-claim-status]"


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    page = browser.new_page()
    page.clock.install()
    page.goto(f"{site.url}/queue.html")
    expect(page.locator("[data-keys]")).to_have_js_property("hidden", False)
    yield page
    page.close()


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.textContent.trim()")


def test_j_and_k_walk_along_the_rows_and_stop_at_the_ends(page: Page) -> None:
    walked = []
    for key in "jjjjkkkk":
        page.keyboard.press(key)
        walked.append(focused(page))
    assert walked == ["1", "2", "3", "3", "2", "1", "1", "1"]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert page.url.endswith("#case-2")


def test_each_key_has_a_button_that_does_the_same(page: Page) -> None:
    page.locator("summary").click()
    page.click("[data-press=j]")
    assert focused(page) == "1"


def test_a_key_presses_its_button_focuses_its_field_and_opens_the_list(
    page: Page, site: Site
) -> None:
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.evaluate("document.querySelector('details').open")
    page.keyboard.press("n")
    page.wait_for_url("**/next?")
    assert site.count("GET", "/next") == 1


def test_keys_do_nothing_while_somebody_types_or_holds_another_key(page: Page, site: Site) -> None:
    page.focus("textarea")
    page.keyboard.type("n j ?")
    assert page.input_value("textarea") == "n j ?"
    page.evaluate("document.activeElement.blur()")
    for combined in ("Control+j", "Alt+n", "Meta+n"):
        page.keyboard.press(combined)
    assert focused(page) != "1"
    assert site.count("GET", "/next") == 0


def test_single_keys_can_be_switched_off_for_good(page: Page, site: Site) -> None:
    page.locator("summary").click()
    page.click("[data-keys-switch]")
    expect(page.locator("[data-keys-switch]")).to_have_text("Single keys are off")
    expect(page.locator("[data-keys-switch]")).to_have_attribute("aria-pressed", "false")
    page.reload()
    page.locator("summary").click()
    expect(page.locator("[data-keys-switch]")).to_have_text("Single keys are off")
    page.keyboard.press("n")
    assert site.count("GET", "/next") == 0


def test_numbers_are_asked_with_their_version_and_change_only_when_new(
    page: Page, site: Site
) -> None:
    asked: list[str | None] = []

    def live(request: Request) -> Reply:
        asked.append(request.headers.get("if-none-match"))
        if asked[-1]:
            return Reply(status=304, body=b"")
        return Reply(type="text/html", body=b"<b>13</b>", headers={"ETag": '"v1"'})

    site.answer("GET", "/live", live)
    page.clock.fast_forward(11_000)
    expect(page.locator("[data-live]")).to_have_text("13")
    page.clock.fast_forward(11_000)
    expect(page.locator("[data-live-status]")).to_have_text("These numbers refresh by themselves.")
    while len(asked) < 2:
        page.wait_for_timeout(20)
    assert asked[:2] == [None, '"v1"']
    expect(page.locator("[data-live]")).to_have_text("13")


def renewals(site: Site, *replies: Reply) -> list[Request]:
    """The heartbeats that came; each gets the next reply, the last one again and again."""
    found: list[Request] = []

    def renew(request: Request) -> Reply:
        found.append(request)
        return replies[min(len(found), len(replies)) - 1]

    site.answer("POST", "/claim/renew", renew)
    return found


RENEWED = Reply(body=b'{"until":"10:31","left":1800}')


def test_activity_renews_the_claim_and_an_idle_page_does_not(page: Page, site: Site) -> None:
    beats = renewals(site, RENEWED)
    page.clock.fast_forward(MINUTE)
    page.keyboard.press("j")
    assert beats == []
    page.clock.fast_forward(MINUTE)
    expect(page.locator("[data-claim-time]")).to_have_text("10:31")
    assert [one.headers["x-csrftoken"] for one in beats] == ["token-1"]
    for _ in range(3):
        page.clock.fast_forward(MINUTE)
    assert len(beats) == 1


def test_a_claim_that_ends_soon_is_said_and_kept_by_a_key(page: Page, site: Site) -> None:
    beats = renewals(site, RENEWED)
    for _ in range(6):
        page.clock.fast_forward(MINUTE)
    expect(page.locator(CLAIM)).to_contain_text("ends soon")
    assert beats == []
    page.keyboard.press("k")
    page.clock.fast_forward(MINUTE)
    expect(page.locator(CLAIM)).to_have_text("")


def test_a_claim_that_is_lost_is_said_once_and_nothing_typed_is_lost(
    page: Page, site: Site
) -> None:
    beats = renewals(site, Reply(status=403))
    page.fill("textarea", "a long letter")
    page.clock.fast_forward(MINUTE)
    expect(page.locator(CLAIM)).to_contain_text("You do not hold this case any more.")
    page.keyboard.press("k")
    page.clock.fast_forward(2 * MINUTE)
    assert len(beats) == 1
    assert page.input_value("textarea") == "a long letterk"


def test_a_server_that_is_away_is_asked_again(page: Page, site: Site) -> None:
    beats = renewals(site, Reply(status=503), RENEWED)
    page.keyboard.press("j")
    page.clock.fast_forward(MINUTE)
    expect(page.locator(CLAIM)).to_contain_text("The connection is lost.")
    page.clock.fast_forward(MINUTE)
    expect(page.locator(CLAIM)).to_have_text("")
    assert len(beats) == 2
