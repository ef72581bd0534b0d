"""What browser tests share: the browser, a running clinic, and one kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.sealing_site import running_browser
from tools.installation import ROOT, Installation
from tools.ports import free_port
from tools.running import Running, started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A whole clinic with the trained model, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("a clinic")
    weights = ROOT / "ml" / "weights"
    with started(Installation(folder, free_port(), free_port(), weights)) as running:
        yield running


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Pages look the same on both databases: SQLite alone."""
    return f"sqlite:///{tmp_path / 'records.db'}"
