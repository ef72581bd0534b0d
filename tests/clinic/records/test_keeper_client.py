"""Asking the keeper: answered, refused, or said to be away, and never for ever."""

import time
from dataclasses import replace

import pytest
from sqlalchemy import update

from clinic.hints import ANSWER_KEY_REQUEST
from clinic.keeper_protocol import KeyPurpose
from clinic.records import keeper_client, keys, sealed_objects
from clinic.records.keeper_client import (
    KeeperCannotOpenError,
    KeeperClient,
    KeeperRefusedError,
    KeeperUnavailableError,
)
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import SealedObject
from tests.clinic.records.test_key_requests import login
from tests.fakes import InlineHints
from tests.world import World


@pytest.fixture
def client(world: World) -> KeeperClient:
    with world.sessions() as session, session.begin():
        identity = keys.enrol_process(session, world.enrolment_key, program="web")
    return KeeperClient(world.sessions, world.hints, identity, patience_seconds=5.0)


def wanted(world: World, login_session_id: str | None = None) -> NewKeyRequest:
    """Alice's own identity, which her session may open without a case."""
    with world.sessions() as session:
        row = sealed_objects.identity_of(session, world.alice.patient_id or "")
    assert row is not None
    return NewKeyRequest(
        KeyPurpose.TEXT, (row.id,), b"", login_session_id=login_session_id or login(world, "alice")
    )


def test_the_keys_come_back_for_this_process_and_open_the_object(
    world: World, client: KeeperClient
) -> None:
    asked = wanted(world)
    (file_key,) = client.file_keys(asked).values()
    with world.sessions() as session:
        row = session.get_one(SealedObject, asked.object_ids[0])
    assert b"Alice" in sealed_objects.open_object(row, world.blobs, file_key=file_key)


def test_many_requests_are_asked_at_once_and_answered_in_their_order(
    world: World, client: KeeperClient
) -> None:
    asked = [wanted(world), wanted(world)]
    asked[1] = replace(asked[1], object_ids=(_identity(world, "carol"),))
    asked[1] = replace(asked[1], login_session_id=login(world, "carol"))
    found = client.all_file_keys(asked)
    assert [tuple(one) for one in found] == [one.object_ids for one in asked]
    assert len({*found[0].values(), *found[1].values()}) == 2


def test_one_refusal_among_many_opens_nothing(world: World, client: KeeperClient) -> None:
    foreign = replace(wanted(world), object_ids=(_identity(world, "carol"),))
    with pytest.raises(KeeperRefusedError):
        client.all_file_keys([wanted(world), foreign])


def _identity(world: World, name: str) -> str:
    with world.sessions() as session:
        row = sealed_objects.identity_of(session, world.people[name].patient_id or "")
    assert row is not None
    return row.id


def test_a_broker_that_is_down_is_said_at_once(world: World, client: KeeperClient) -> None:
    begun = time.monotonic()
    with pytest.raises(KeeperUnavailableError, match="cannot be reached"):
        replace(client, hints=InlineHints(down=True)).file_keys(wanted(world))
    assert time.monotonic() - begun < 2


def test_a_keeper_that_is_down_is_waited_for_no_longer_than_the_patience(
    world: World, client: KeeperClient
) -> None:
    begun = time.monotonic()
    with pytest.raises(KeeperUnavailableError, match="does not answer"):
        replace(client, hints=InlineHints(), patience_seconds=0.2).file_keys(wanted(world))
    assert 0.2 <= time.monotonic() - begun < 3


def test_a_lost_hint_is_sent_again(
    world: World, client: KeeperClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_client, "ASK_AGAIN_SECONDS", 0.05)

    class Losing(InlineHints):
        """The broker loses the first hint."""

        def send(self, task: str, *ids: str) -> None:
            if self.sent:
                super().send(task, *ids)
            self.sent.append((task, ids))

    hints = Losing(world.keeper)
    assert replace(client, hints=hints).file_keys(wanted(world))
    assert {task for task, _ in hints.sent} == {ANSWER_KEY_REQUEST}
    assert len({ids for _, ids in hints.sent}) == 1


def test_a_refusal_is_raised_with_its_reason(world: World, client: KeeperClient) -> None:
    with pytest.raises(KeeperRefusedError, match="may not open identity") as refused:
        client.file_keys(wanted(world, login(world, "carol")))
    assert not isinstance(refused.value, KeeperCannotOpenError)


def test_an_object_that_does_not_open_is_told_apart(world: World, client: KeeperClient) -> None:
    asked = wanted(world)
    with world.sessions() as session, session.begin():
        damaged = update(SealedObject).where(SealedObject.id == asked.object_ids[0])
        session.execute(damaged.values(header="{}"))
    with pytest.raises(KeeperCannotOpenError):
        client.file_keys(asked)


def test_another_process_cannot_read_the_answer(world: World, client: KeeperClient) -> None:
    """The database holds the answer; without the private key it is of no use."""
    with world.sessions() as session, session.begin():
        thief = keys.enrol_process(session, world.enrolment_key, program="web")
    asked = wanted(world)
    stolen = replace(client, identity=replace(client.identity, private_key=thief.private_key))
    with pytest.raises(KeeperRefusedError, match="not enrolled"):
        stolen.file_keys(asked)
