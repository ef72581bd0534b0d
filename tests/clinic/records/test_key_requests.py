"""Requests to the keeper as rows."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from clinic.keeper_protocol import KeyPurpose
from clinic.records import accounts, ehr_clients, key_requests
from clinic.records.db import database_now
from clinic.records.key_requests import REQUEST_LIFE, NewKeyRequest
from clinic.records.models import Account, KeyRequest, LoginSession
from tests.world import World


def login(world: World, name: str) -> str:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.people[name].account_id)
        token = accounts.start_login(session, account, second_factor=True)
        found = accounts.live_login(session, token)
        assert isinstance(found, LoginSession)
        return found.id


def ask(world: World, **who: str) -> KeyRequest:
    with world.sessions() as session, session.begin():
        return key_requests.ask(session, NewKeyRequest(KeyPurpose.VIEW, ("o1",), b"k" * 32, **who))


def count(world: World, row: KeyRequest) -> int:
    with world.sessions() as session:
        return key_requests.asked_last_hour(session, row)


def test_a_request_waits_and_ends_within_seconds(world: World) -> None:
    row = ask(world, login_session_id=login(world, "alice"))
    assert (row.state, row.answer, row.refusal) == ("waiting", None, None)
    assert row.expires_at - row.created_at == REQUEST_LIFE <= timedelta(minutes=1)


def test_each_session_and_each_client_is_counted_for_itself(world: World) -> None:
    alice, bob = login(world, "alice"), login(world, "bob")
    with world.sessions() as session, session.begin():
        client = ehr_clients.register(session, clinic_id=world.clinic_id, name="x").client_id
    for _ in range(3):
        last = ask(world, login_session_id=alice)
    assert count(world, last) == 3
    assert count(world, ask(world, login_session_id=bob)) == 1
    assert count(world, ask(world, ehr_client_id=client)) == 1


def test_a_worker_s_requests_are_not_counted(world: World) -> None:
    for _ in range(2):
        last = ask(world, token="0" * 32)
    assert count(world, last) == 0


def test_what_is_older_than_an_hour_does_not_count(world: World) -> None:
    alice = login(world, "alice")
    ask(world, login_session_id=alice)
    with world.sessions() as session, session.begin():
        then = database_now(session) - timedelta(minutes=61)
        session.execute(update(KeyRequest).values(created_at=then))
    assert count(world, ask(world, login_session_id=alice)) == 1


def test_an_unknown_request_is_none(world: World) -> None:
    with world.sessions() as session:
        assert key_requests.find(session, "0" * 32) is None


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"state": "granted"}, "key_request_granted_has_answer"),
        ({"answer": {"o1": "{}"}}, "key_request_granted_has_answer"),
        ({"state": "refused"}, "key_request_refused_has_reason"),
        ({"state": "perhaps"}, "key_request_state_is_known"),
    ],
)
def test_an_answer_without_its_state_is_impossible(
    world: World, values: dict[str, object], rule: str
) -> None:
    ask(world, login_session_id=login(world, "alice"))
    with world.sessions() as session, pytest.raises(IntegrityError, match=rule):
        session.execute(update(KeyRequest).values(**values))
