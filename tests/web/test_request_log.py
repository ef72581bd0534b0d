"""Each request leaves one line and carries an id, and no line quotes an address."""

import logging
import re
from pathlib import Path

import pytest
from flask import Flask

from clinic.json_log import EXTRA
from tests.browser_session import BrowserSession
from tests.portal_tools import another_app
from tests.world import World

ID = re.compile(r"[0-9a-f]{32}\Z")
GIVEN = "5" * 32


@pytest.fixture(autouse=True)
def informed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="web.request_log")


def test_every_answer_carries_an_id_of_its_own(app: Flask) -> None:
    client = app.test_client()
    found = [client.get(path).headers["X-Request-ID"] for path in ("/", "/help", "/nowhere")]

    assert all(ID.match(one) for one in found)
    assert len(set(found)) == 3


def test_only_the_proxys_id_is_taken_over(
    app: Flask, world: World, database_url: str, tmp_path: Path
) -> None:
    sent = {"X-Request-ID": GIVEN}
    assert app.test_client().get("/help", headers=sent).headers["X-Request-ID"] != GIVEN
    behind = another_app(
        world,
        database_url,
        tmp_path,
        trusted_proxies=1,
    ).test_client()

    assert behind.get("/help", headers=sent).headers["X-Request-ID"] == GIVEN
    spoilt = behind.get("/help", headers={"X-Request-ID": "Jane Doe"}).headers["X-Request-ID"]
    assert ID.match(spoilt)


def test_a_line_names_route_status_and_time(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.test_client().get("/sign-in-link/a-secret-token?x=y")

    (line,) = (getattr(one, EXTRA) for one in caplog.records)
    assert (line["route"], line["method"], line["status"]) == ("portal.sign_in_link", "GET", 404)
    assert line["seconds"] >= 0
    assert "secret" not in str(line)


def test_a_resting_part_is_named_in_the_line(
    world: World, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    case = world.claimed(world.alice, world.bob)
    bob = BrowserSession.of(app, world, world.bob)
    world.hints.down = True

    assert bob.get(f"/review/{case}").status_code == 503

    line = getattr(caplog.records[-1], EXTRA)
    assert (line["status"], line["fault"]) == (503, "KeeperUnavailableError")
