"""Invitations: for one clinic and role, once, for a day."""

from datetime import timedelta

from sqlalchemy import update

from clinic.access import Role
from clinic.records import invitations
from clinic.records.db import database_now
from clinic.records.models import Invitation
from tests.threads import at_once
from tests.world import World


def invited(world: World) -> str:
    with world.sessions() as session, session.begin():
        return invitations.invite(session, clinic_id=world.clinic_id, role=Role.DERMATOLOGIST)


def used(world: World, token: str) -> bool:
    with world.sessions() as session, session.begin():
        found = invitations.find(session, token)
        return found is not None and invitations.spend(session, found)


def test_a_token_leads_to_its_clinic_and_role_until_it_is_used(world: World) -> None:
    token = invited(world)
    with world.sessions() as session:
        found = invitations.find(session, token)
        assert found is not None
        assert (found.clinic_id, found.role) == (world.clinic_id, Role.DERMATOLOGIST)
        assert invitations.find(session, token + "x") is None

    assert [used(world, token) for _ in range(2)] == [True, False]


def test_after_a_day_it_is_dead(world: World) -> None:
    token = invited(world)
    with world.sessions() as session, session.begin():
        ended = database_now(session) - timedelta(seconds=1)
        session.execute(update(Invitation).values(expires_at=ended))

    assert not used(world, token)
    with world.sessions() as session:
        assert invitations.open_of_clinic(session, world.clinic_id) == []


def test_a_clinic_sees_and_withdraws_its_own_only(world: World) -> None:
    token = invited(world)
    with world.sessions() as session, session.begin():
        (mine,) = invitations.open_of_clinic(session, world.clinic_id)
        assert invitations.open_of_clinic(session, world.other_clinic_id) == []
        other, own = world.other_clinic_id, world.clinic_id
        assert not invitations.withdraw(session, clinic_id=other, invitation_id=mine.id)
        assert invitations.withdraw(session, clinic_id=own, invitation_id=mine.id)

    assert not used(world, token)


def test_two_people_cannot_use_one_invitation_together(world: World) -> None:
    token = invited(world)

    assert sorted(at_once(*[lambda: used(world, token)] * 4)) == [False] * 3 + [True]
