"""Mailed links: each for one purpose, once, for a short time; addresses in them are sealed."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from clinic.one_time_link import LinkPurpose
from clinic.records import one_time_links
from clinic.records.db import database_now
from clinic.records.models import OneTimeLink
from tests.threads import at_once
from tests.world import World

RESET, CHANGE, REGISTRATION = (
    LinkPurpose.PASSWORD_RESET,
    LinkPurpose.EMAIL_CHANGE,
    LinkPurpose.REGISTRATION,
)


def made(world: World, purpose: LinkPurpose = RESET) -> str:
    account_id = None if purpose is REGISTRATION else world.alice.account_id
    email = None if purpose is RESET else "ada@example.net"
    with world.sessions() as session, session.begin():
        return one_time_links.make(
            session, world.secrets, purpose, account_id=account_id, email=email
        )


def used(world: World, token: str, purpose: LinkPurpose = RESET) -> bool:
    with world.sessions() as session, session.begin():
        link = one_time_links.find(session, purpose, token)
        return link is not None and one_time_links.spend(session, link)


@pytest.mark.parametrize("purpose", LinkPurpose)
def test_a_link_works_once_and_for_its_purpose_alone(world: World, purpose: LinkPurpose) -> None:
    token = made(world, purpose)

    assert not any(used(world, token, other) for other in LinkPurpose if other is not purpose)
    assert [used(world, token, purpose) for _ in range(2)] == [True, False]


def test_the_address_of_a_link_opens_for_that_link_alone(world: World) -> None:
    first, second = made(world, CHANGE), made(world, CHANGE)
    with world.sessions() as session:
        one, other = (one_time_links.find(session, CHANGE, token) for token in (first, second))
        assert one is not None
        assert other is not None
        assert one_time_links.email_of(world.secrets, one) == "ada@example.net"
        assert b"ada@" not in (one.email_sealed or b"")
        assert one.email_sealed != other.email_sealed


def test_a_link_ends_with_its_time_and_with_its_account_s_others(world: World) -> None:
    token, other = made(world), made(world)
    with world.sessions() as session, session.begin():
        one_time_links.drop_all(session, world.carol.account_id)
        ended = database_now(session) - timedelta(seconds=1)
        digest = one_time_links.digest(token)
        session.execute(
            update(OneTimeLink).where(OneTimeLink.token_hash == digest).values(expires_at=ended)
        )
    assert not used(world, token)

    with world.sessions() as session, session.begin():
        one_time_links.drop_all(session, world.alice.account_id)
    assert not used(world, other)


def test_two_browsers_cannot_use_one_link_together(world: World) -> None:
    token = made(world)

    assert sorted(at_once(*[lambda: used(world, token)] * 4)) == [False] * 3 + [True]


def test_a_reset_without_an_account_cannot_be_stored(world: World) -> None:
    with world.sessions() as session, pytest.raises(IntegrityError):
        one_time_links.make(session, world.secrets, RESET, account_id=None, email=None)
