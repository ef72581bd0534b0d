"""What the tiles of the keys say, and when they are red."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clinic.records.operations import Snapshot, snapshot
from tests.world import World
from web.portal.operations_view import live_part

DAY = timedelta(days=1)


@pytest.fixture
def found(world: World) -> Snapshot:
    with world.sessions() as session:
        return snapshot(session)


def tile(found: Snapshot, name: str) -> dict[str, Any]:
    return next(one for one in live_part(found)["tiles"] if one["name"] == name)


def test_an_epoch_key_that_none_follows_says_so_before_it_is_red(found: Snapshot) -> None:
    alone = tile(found, "Epoch key")
    followed = tile(replace(found, next_epoch=True), "Epoch key")
    assert (alone["words"], alone["bad"]) == ("Valid", False)
    assert "No key follows: make the next ones." in alone["lines"]
    assert "No key follows: make the next ones." not in followed["lines"]

    soon = tile(replace(found, epoch_ends_at=found.taken_at + 2 * DAY), "Epoch key")
    assert (soon["words"], soon["bad"]) == ("Ends soon", True)


@pytest.mark.parametrize(
    ("ago", "words", "bad"),
    [(None, "Never used", False), (DAY, "Used", True), (8 * DAY, "Not used lately", False)],
)
def test_an_emergency_is_shown_for_a_week(
    found: Snapshot, ago: timedelta | None, words: str, *, bad: bool
) -> None:
    at = found.taken_at - ago if ago else None
    shown = tile(replace(found, last_emergency=at), "Emergency access")
    assert (shown["words"], shown["bad"]) == (words, bad)
    if at is not None:
        assert f"{at:%Y-%m-%d %H:%M} UTC" in shown["lines"][0]
