"""Known browsers: by a random token, for each account on its own."""

from clinic.records import known_devices
from clinic.records.models import Account
from tests.portal_tools import table_bytes
from tests.world import World


def known(world: World, name: str, token: str | None) -> bool:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.people[name].account_id)
        return known_devices.recognise(session, account, token)


def remember(world: World, name: str, token: str | None = None) -> str:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.people[name].account_id)
        return known_devices.remember(session, account, token)


def test_a_browser_is_known_by_the_token_that_it_was_given(world: World) -> None:
    assert not known(world, "alice", None)
    token = remember(world, "alice")

    assert known(world, "alice", token)
    assert not known(world, "alice", token + "x")
    assert token.encode() not in table_bytes(world)


def test_two_people_may_share_a_browser_and_are_told_apart(world: World) -> None:
    token = remember(world, "alice")
    assert not known(world, "carol", token)

    assert remember(world, "carol", token) == token

    assert known(world, "alice", token)
    assert known(world, "carol", token)


def test_remembering_twice_is_no_fault(world: World) -> None:
    token = remember(world, "alice")

    assert remember(world, "alice", token) == token
