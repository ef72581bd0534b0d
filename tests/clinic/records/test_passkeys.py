"""Passkeys and their challenges: a challenge is spent once, a counter moves once."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from clinic.records import passkeys
from clinic.records.db import database_now
from clinic.records.models import Account, Passkey, PasskeyChallenge
from clinic.records.passkeys import CHALLENGE_BYTES, NewPasskey, PasskeyTakenError
from tests.threads import at_once
from tests.world import World


def asked(world: World, account_id: str | None) -> str:
    with world.sessions() as session, session.begin():
        made = passkeys.new_challenge(session, account_id)
        assert len(made.challenge) == CHALLENGE_BYTES == 64
        return made.id


def spend(world: World, challenge_id: str, account_id: str | None) -> bytes | None:
    with world.sessions() as session, session.begin():
        return passkeys.spend_challenge(session, challenge_id, account_id)


def added(world: World, name: str = "bob") -> Passkey:
    new = NewPasskey(b"a credential", b"a public key", 5, b"a sealed name")
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.people[name].account_id)
        return passkeys.add(session, account, new)


@pytest.mark.parametrize("who", [None, "bob"])
def test_a_challenge_is_answered_once_by_whom_it_was_made_for(
    world: World, who: str | None
) -> None:
    owner = world.people[who].account_id if who else None
    first, second = asked(world, owner), asked(world, owner)

    assert spend(world, first, owner)
    assert spend(world, first, owner) is None
    assert spend(world, second, world.dan.account_id) is None
    assert spend(world, second, owner) is None, "a wrong answer uses it up"
    assert spend(world, "", owner) is None


def test_an_old_challenge_is_dead(world: World) -> None:
    challenge = asked(world, None)
    with world.sessions() as session, session.begin():
        ended = database_now(session) - timedelta(seconds=1)
        session.execute(update(PasskeyChallenge).values(expires_at=ended))

    assert spend(world, challenge, None) is None


def test_two_answers_to_one_challenge_do_not_both_count(world: World) -> None:
    challenge = asked(world, None)

    found = at_once(*[lambda: spend(world, challenge, None) is not None] * 4)

    assert sorted(found) == [False] * 3 + [True]


def test_of_two_uses_at_once_the_counter_takes_one(world: World) -> None:
    passkey = added(world)

    def use() -> bool:
        with world.sessions() as session, session.begin():
            return passkeys.note_use(session, passkey, sign_count=6)

    assert sorted(at_once(*[use] * 4)) == [False] * 3 + [True]


def test_a_credential_belongs_to_one_account(world: World) -> None:
    added(world)

    with pytest.raises(PasskeyTakenError):
        added(world, "dan")
