"""A NUL never reaches the database: it is refused where it comes in, in words."""

from collections.abc import Callable

import pytest

from clinic.records.models import Submission
from tests.browser_session import BrowserSession
from tests.portal_tools import CASE, JSON, both_databases, count
from tests.world import World

SignedIn = Callable[[str], BrowserSession]


@both_databases
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("alice", "/cases/%00"),
        ("alice", "/objects/a%00b"),
        ("bob", "/review?after=%00"),
        ("erin", "/audit?actor=a%00"),
        ("erin", "/audit?%00=a"),
    ],
)
def test_an_address_with_a_nul_is_refused(signed_in: SignedIn, name: str, path: str) -> None:
    answer = signed_in(name).get(path, headers=JSON)

    assert answer.status_code == 400
    assert "Load the page again" in answer.json["error"]


@both_databases
def test_a_form_with_a_nul_is_refused_and_stores_nothing(world: World, signed_in: SignedIn) -> None:
    alice = signed_in("alice")

    for field in ("notes", "submission_id", "site_detail"):
        assert alice.post("/cases/new", {**CASE, field: "a\0b"}).status_code == 400
    assert count(world, Submission) == 0
