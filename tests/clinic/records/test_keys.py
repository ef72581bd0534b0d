"""Epoch keys, patients' keys and enrolled processes."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from clinic.epoch_key import EpochKeyError
from clinic.keeper_protocol import enrolment_mac
from clinic.master_key import LocalMasterKey, MasterKeyError
from clinic.records import keys
from clinic.records.db import database_now
from clinic.records.keys import EPOCH_LIFE, KeyDestroyedError, NoEpochKeyError
from clinic.records.models import EpochKeyRow, PatientKey, ProcessKey
from tests.world import World

SECOND = timedelta(seconds=1)


def publish(world: World) -> str:
    with world.sessions() as session, session.begin():
        return keys.publish_epoch(session, world.master, world.root_private)


def the_kid(world: World) -> str:
    with world.sessions() as session:
        return keys.sealing_recipient(session, world.root_public_key).kid


def change(world: World, kid: str, **values: object) -> None:
    with world.sessions() as session, session.begin():
        session.execute(update(EpochKeyRow).where(EpochKeyRow.kid == kid).values(**values))


def test_an_epoch_key_is_valid_from_now_for_its_life(world: World) -> None:
    kid = the_kid(world)
    with world.sessions() as session:
        row = session.get_one(EpochKeyRow, kid)
        now = database_now(session)
        private = keys.epoch_private_key(session, world.master, kid)
        public = keys.sealing_recipient(session, world.root_public_key).raw
    assert row.not_before < now
    assert EPOCH_LIFE - timedelta(minutes=5) < row.not_after - now <= EPOCH_LIFE
    assert private.public_key().public_bytes_raw() == public
    assert private.private_bytes_raw() not in (row.private_wrapped or b"")


def test_the_newest_valid_epoch_key_is_sealed_to(world: World) -> None:
    first = the_kid(world)
    with world.sessions() as session:
        earlier = database_now(session) - timedelta(minutes=10)
    change(world, first, not_before=earlier)
    second = publish(world)
    assert the_kid(world) == second
    with world.sessions() as session:
        assert keys.epoch_is_usable(session, first)


def test_an_epoch_key_that_ran_out_is_retired(world: World) -> None:
    kid = the_kid(world)
    with world.sessions() as session:
        past = database_now(session) - SECOND
    change(world, kid, not_after=past)
    with world.sessions() as session:
        assert not keys.epoch_is_usable(session, kid)
        assert not keys.epoch_is_usable(session, "epoch-unknown")
        with pytest.raises(NoEpochKeyError):
            keys.current_epoch(session)
        assert keys.epoch_private_key(session, world.master, kid)  # old objects still open


def test_a_destroyed_epoch_key_is_gone(world: World) -> None:
    kid = the_kid(world)
    with world.sessions() as session:
        now = database_now(session)
    change(world, kid, private_wrapped=None, destroyed_at=now)
    with world.sessions() as session:
        assert not keys.epoch_is_usable(session, kid)
        with pytest.raises(KeyDestroyedError, match=kid):
            keys.epoch_private_key(session, world.master, kid)
        with pytest.raises(NoEpochKeyError):
            keys.current_epoch(session)


def test_destroyed_and_still_there_is_impossible(world: World) -> None:
    with world.sessions() as session:
        now = database_now(session)
    with pytest.raises(IntegrityError, match="epoch_key_destroyed_is_gone"):
        change(world, the_kid(world), destroyed_at=now)


def test_a_key_that_the_root_did_not_sign_is_never_sealed_to(world: World) -> None:
    with world.sessions() as session, session.begin():
        session.execute(
            update(EpochKeyRow).values(not_before=database_now(session) - timedelta(hours=1))
        )
        keys.publish_epoch(session, world.master, Ed25519PrivateKey.generate())
    with world.sessions() as session, pytest.raises(EpochKeyError):
        keys.sealing_recipient(session, world.root_public_key)


def test_another_master_key_opens_no_epoch_key(world: World) -> None:
    with world.sessions() as session, pytest.raises(MasterKeyError):
        keys.epoch_private_key(session, LocalMasterKey(b"x" * 32), the_kid(world))


def test_a_patient_has_one_key_that_is_made_at_first_use(world: World) -> None:
    patient = world.alice.patient_id or ""
    with world.sessions() as session, session.begin():
        first = keys.patient_key(session, world.master, patient)
    with world.sessions() as session, session.begin():
        assert keys.patient_key(session, world.master, patient) == first
        other = keys.patient_key(session, world.master, world.carol.patient_id or "")
        rows = session.scalars(select(PatientKey)).all()
    assert first[1] != other[1]
    assert len(first[1]) == 32
    assert len(rows) == 2
    assert not [row for row in rows if first[1] in (row.wrapped or b"")]
    assert patient not in first[0]


def test_a_destroyed_patient_key_is_never_made_anew(world: World) -> None:
    patient = world.alice.patient_id or ""
    with world.sessions() as session, session.begin():
        kid, _ = keys.patient_key(session, world.master, patient)
    with world.sessions() as session, session.begin():
        now = database_now(session)
        session.execute(update(PatientKey).values(wrapped=None, destroyed_at=now))
    with world.sessions() as session:
        with pytest.raises(KeyDestroyedError):
            keys.patient_key(session, world.master, patient)
        with pytest.raises(KeyDestroyedError):
            keys.patient_key_by_kid(session, world.master, kid)
        with pytest.raises(KeyDestroyedError):
            keys.patient_key_by_kid(session, world.master, "patient-unknown")


def test_an_enrolled_process_proves_that_it_knew_the_secret(world: World) -> None:
    with world.sessions() as session, session.begin():
        identity = keys.enrol_process(
            session, b"secret", program="worker", model_version="v1", model_fingerprint="f"
        )
    with world.sessions() as session:
        row = session.get_one(ProcessKey, identity.id)
    public = identity.private_key.public_key().public_bytes_raw()
    assert row.public_key == public
    assert row.mac == enrolment_mac(
        b"secret", process_id=identity.id, program="worker", public_key=public
    )
    assert (row.model_version, row.model_fingerprint) == ("v1", "f")


def test_the_worker_seen_last_is_the_newest_and_silence_ends_it(world: World) -> None:
    with world.sessions() as session, session.begin():
        start = database_now(session)
        older, newer = (keys.enrol_process(session, b"s", program="worker").id for _ in range(2))
        keys.enrol_process(session, b"s", program="web")
    with world.sessions() as session, session.begin():
        keys.touch_process(session, older)
        keys.touch_process(session, "no such process")
    with world.sessions() as session:
        found = keys.newest_worker(session, since=start - SECOND)
        nobody = keys.newest_worker(session, since=database_now(session) + SECOND)
    assert found is not None
    assert (found.id, nobody) == (older, None)
    assert newer != older
