"""A real browser runs the scripts that the page names by hash, and no other ones."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.sealing_site import (
    POLICY,
    Reply,
    Site,
    running_site,
)
from web.script_bundle import ROOT_KEY_PATH, STATIC, ScriptBundle, root_key_script

pytestmark = pytest.mark.browser

ROOT = bytes(range(32))
BUNDLE = ScriptBundle.of(ROOT)
NONCE = "nonce-of-this-page"
PAGE = f"""<!doctype html><html lang="en"><head><title>Scripts under test</title></head><body>
<form data-case-form data-epoch="" data-submission="sub-1"></form>
<script type="importmap" nonce="{NONCE}">{BUNDLE.import_map}</script>
{BUNDLE.script("js/upload.js")}
</body></html>"""


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        script = Reply(type="text/javascript", body=root_key_script(ROOT))
        site.answer("GET", ROOT_KEY_PATH, lambda _: script)
        policy = POLICY.replace("script-src 'self'", f"script-src 'self' 'nonce-{NONCE}'")
        page = Reply(type="text/html; charset=utf-8", body=PAGE.encode(), policy=policy)
        site.answer("GET", "/page", lambda _: page)
        yield site


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def runs(page: Page, site: Site) -> bool:
    """Whether the form's script took the form in hand: it adds its place for words."""
    page.goto(f"{site.url}/page", wait_until="load")
    return page.locator("form [role=status]").count() == 1


def test_the_scripts_of_the_bundle_run(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    assert runs(page, site)
    scripts = [one for one in asked if ".js" in one]
    assert set(scripts) >= {BUNDLE.address("/static/js/dseal.js"), BUNDLE.address(ROOT_KEY_PATH)}
    assert all("?v=" in one for one in scripts)


@pytest.mark.parametrize(
    "path",
    [
        "/static/js/upload.js",
        "/static/js/dseal.js",
        "/static/js/epoch-key.js",
        "/static/vendor/hpke/hpke-core.js",
        ROOT_KEY_PATH,
    ],
)
def test_one_changed_script_and_nothing_runs(page: Page, site: Site, path: str) -> None:
    honest = (
        root_key_script(ROOT)
        if path == ROOT_KEY_PATH
        else (STATIC / path.removeprefix("/static/")).read_bytes()
    )
    changed = Reply(type="text/javascript", body=honest + b"// changed\n")
    site.answer("GET", path, lambda _: changed)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))

    assert not runs(page, site)
    assert any("integrity" in one for one in complaints)
