"""Searching the coded list in the portal."""

from collections.abc import Callable
from typing import Any

from tests.browser_session import BrowserSession
from tests.portal_tools import JSON, words

SignedIn = Callable[[str], BrowserSession]


def listed(browser: BrowserSession, **asked: str) -> list[dict[str, Any]]:
    form = {**asked, "csrf_token": browser.csrf_token()}
    codes: list[dict[str, Any]] = browser.client.post("/codes", data=form, headers=JSON).json[
        "codes"
    ]
    return codes


def test_a_form_s_list_gets_codes_with_titles_and_groups(signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    back = {"code": "D22.5", "title": "Melanocytic nevi of trunk", "group": "nv"}
    assert listed(bob, q="mole back") == [back]
    assert [one["code"] for one in listed(bob, group="vasc")] == ["D18.01", "I78.1", "L98.0"]
    assert listed(bob) == []


def test_without_a_script_a_page_searches_the_list(signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    assert "Or all codes of" in bob.get("/codes").text
    assert "D22.5 Melanocytic nevi of trunk" in words(bob.post("/codes", {"q": "mole back"}).text)
    nothing = bob.post("/codes", {"q": "<script>alert(1)</script>"}).text
    assert "Nothing in the list fits" in nothing
    assert "<script>alert" not in nothing
    assert "there may be more" in bob.post("/codes", {"q": "l"}).text


def test_what_is_searched_is_taken_from_no_address(signed_in: SignedIn) -> None:
    assert "D22.5" not in words(signed_in("bob").get("/codes?q=D22.5").text)
