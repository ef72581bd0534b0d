"""Record systems and their bearer tokens."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from clinic.records import ehr_clients
from clinic.records.db import database_now
from clinic.records.ehr_clients import READ_SCOPES, Registration
from clinic.records.models import EhrClient
from tests.world import World


@pytest.fixture
def registered(world: World) -> Registration:
    with world.sessions() as session, session.begin():
        return ehr_clients.register(session, clinic_id=world.clinic_id, name="Hospital")


def test_a_token_names_its_client(world: World, registered: Registration) -> None:
    with world.sessions() as session:
        found = ehr_clients.by_token(session, registered.token)
    assert found is not None
    assert (found.id, found.clinic_id) == (registered.client_id, world.clinic_id)
    assert found.scopes == {READ_SCOPES}


def test_the_row_does_not_hold_the_token(world: World, registered: Registration) -> None:
    with world.sessions() as session:
        row = session.get_one(EhrClient, registered.client_id)
        assert ehr_clients.by_token(session, row.token_hash) is None
    assert registered.token not in repr(vars(row))


@pytest.mark.parametrize("token", ["", "made up", "x" * 500])
def test_a_made_up_token_names_nobody(world: World, registered: Registration, token: str) -> None:
    assert registered.token != token
    with world.sessions() as session:
        assert ehr_clients.by_token(session, token) is None


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_revoked_or_expired_token_names_nobody(
    world: World, registered: Registration, column: str
) -> None:
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(EhrClient).values({column: past}))
    with world.sessions() as session:
        assert ehr_clients.by_token(session, registered.token) is None
