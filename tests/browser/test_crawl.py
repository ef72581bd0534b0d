"""Every page in a real browser, for each role: nothing breaks the content policy or complains."""

import re
from collections.abc import Iterator, Sequence

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser

from clinic.access import Role
from tests.browser.portal_site import DrawingAnalyst, Site, site, visitor
from tests.browser_session import BrowserSession
from tests.world import World

__all__ = ["site"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What is no page: files, health, the FHIR API, and what answers with data to a page's script.
NO_PAGE = re.compile(
    r"/(static|fhir|healthz|readyz|metrics|invariants|grants|objects|operations/live|review/live)\b"
    r"|.*\.(csv|js|json|zip)\Z"
)


def pages(app: Flask, cases: Sequence[str]) -> list[str]:
    rules = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    paths = {rule.replace("<case_id>", case) for rule in rules for case in cases}
    return sorted(one for one in paths if "<" not in one and not NO_PAGE.match(one))


def clients(site: Site, world: World) -> Iterator[tuple[str, FlaskClient]]:
    yield "nobody", site.app.test_client()
    for role in Role:
        known = (one for one in world.people.values() if one.role is role)
        person = next(known, None) or world.add_person(f"some-{role}", role)
        yield role, BrowserSession.of(site.app, world, person).client


def test_no_page_breaks_the_policy_or_complains_to_the_console(
    browser: Browser, site: Site, world: World
) -> None:
    world.analyst = DrawingAnalyst()
    signed = world.signed(world.alice, world.bob)
    read = world.first_read(world.alice, world.bob)
    complaints, opened = [], {}

    for name, client in clients(site, world):
        one = visitor(browser, site, client)
        paths = pages(site.app, [signed, read])
        opened[name] = {path for path in paths if client.get(path).status_code == 200}
        for path in sorted(opened[name]):
            one.visit(path)
        complaints += [f"{name} {said}" for said in one.complaints]
        one.page.context.close()

    assert complaints == []
    assert {"/", "/sign-in", "/register", "/privacy"} <= opened["nobody"]
    assert {"/cases/new", f"/cases/{signed}", "/my-record"} <= opened[Role.PATIENT]
    assert {"/review", f"/review/{read}", f"/review/{signed}"} <= opened[Role.DERMATOLOGIST]
    assert {"/operations", "/people", "/erasure-requests"} <= opened[Role.ADMINISTRATOR]
    assert {"/operations", "/audit"} <= opened[Role.AUDITOR]


def test_the_listener_hears_what_the_policy_refuses(browser: Browser, site: Site) -> None:
    page = visitor(browser, site, site.app.test_client()).page
    page.goto("/")

    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), "
        "{src: 'http://127.0.0.1:1/x.png'}))"
    )

    page.wait_for_function("window.broken.length >= 2")
    rules = {said.partition(":")[0] for said in page.evaluate("window.broken")}
    assert {"style-src-attr", "img-src"} <= rules
    page.context.close()
