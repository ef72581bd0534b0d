"""Searching the coded list in the portal."""

from collections.abc import Callable

from tests.browser_session import BrowserSession
from tests.portal_tools import JSON, words

SignedIn = Callable[[str], BrowserSession]


def test_a_form_s_list_gets_codes_with_titles_and_groups(signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    answer = bob.client.get("/codes?q=mole+back", headers=JSON).json
    assert answer == {
        "codes": [{"code": "D22.5", "title": "Melanocytic nevi of trunk", "group": "nv"}]
    }
    of_group = bob.client.get("/codes?group=vasc", headers=JSON).json["codes"]
    assert [one["code"] for one in of_group] == ["D18.01", "I78.1", "L98.0"]


def test_without_a_script_a_page_searches_the_list(signed_in: SignedIn) -> None:
    bob = signed_in("bob")
    assert "D22.5 Melanocytic nevi of trunk" in words(bob.get("/codes?q=mole+back").text)
    nothing = bob.get("/codes?q=<script>alert(1)</script>").text
    assert "Nothing in the list fits" in nothing
    assert "<script>alert" not in nothing
    assert "there may be more" in bob.get("/codes?q=l").text
