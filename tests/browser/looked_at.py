"""A state of a page, looked at: it fits each width, axe is content, a picture is kept."""

from collections.abc import Sequence
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

HEIGHT = 900


def looked_at(page: Page, name: str, folder: Path, widths: Sequence[int]) -> None:
    """Each width: nothing sticks out, a picture is kept. The first width is asked of axe too."""
    folder.mkdir(parents=True, exist_ok=True)
    for width in widths:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        sticks_out = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(sticks_out) <= 0, f"{name} sticks out at {width}"
        page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": widths[0], "height": HEIGHT})
    found = barriers(page)
    assert found == [], f"axe on {name}: {found}"


def barriers(page: Page) -> list[str]:
    """What axe calls serious or critical: the rule, and the first place."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {rule['nodes'][0]['html']}"
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ]
