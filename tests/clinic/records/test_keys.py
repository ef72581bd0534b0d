"""Epoch keys, patients' keys and enrolled processes."""

import itertools
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from clinic.epoch_key import EpochKeyError, SignedEpochKey, verify_epoch_key
from clinic.escrow import Escrow, open_copy
from clinic.keeper_protocol import enrolment_mac
from clinic.master_key import LocalMasterKey, MasterKeyError
from clinic.records import keys
from clinic.records.db import database_now
from clinic.records.keys import EPOCH_LIFE, EPOCH_OVERLAP, KeyDestroyedError, NoEpochKeyError
from clinic.records.models import EpochKeyRow, PatientKey, ProcessKey
from clinic.sealed_part import new_identity
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


def publish_ahead(world: World, count: int) -> list[str]:
    with world.sessions() as session, session.begin():
        return keys.publish_epochs(session, world.master, world.root_private, count=count)


def test_epoch_keys_ahead_follow_each_other_with_overlap(world: World) -> None:
    first = the_kid(world)

    made = publish_ahead(world, 3)

    with world.sessions() as session:
        chain = [session.get_one(EpochKeyRow, kid) for kid in (first, *made)]
        for before, after in itertools.pairwise(chain):
            assert after.not_before == before.not_after - EPOCH_OVERLAP
            assert after.not_after - after.not_before == EPOCH_LIFE
        assert keys.sealable_until(session) == chain[-1].not_after
        for row in chain:
            public = SignedEpochKey.from_json(row.signed)
            assert verify_epoch_key(public, world.root_public_key, now=row.not_before)
        in_overlap = chain[0].not_after - EPOCH_OVERLAP / 2
        assert keys.current_epoch(session, now=in_overlap).epoch.kid == made[0]
    assert the_kid(world) == first


def test_the_next_batch_continues_the_last_one(world: World) -> None:
    *_, last = publish_ahead(world, 2)
    (following,) = publish_ahead(world, 1)
    with world.sessions() as session:
        ends = session.get_one(EpochKeyRow, last).not_after
        assert session.get_one(EpochKeyRow, following).not_before == ends - EPOCH_OVERLAP


def test_after_a_gap_the_first_key_of_a_batch_is_valid_at_once(world: World) -> None:
    with world.sessions() as session:
        past = database_now(session) - timedelta(days=1)
    change(world, the_kid(world), not_after=past)
    kid, _ = publish_ahead(world, 2)
    assert the_kid(world) == kid


def test_a_key_follows_only_where_no_gap_is(world: World) -> None:
    with world.sessions() as session:
        assert not keys.has_next_epoch(session)
    current = the_kid(world)
    (following,) = publish_ahead(world, 1)
    with world.sessions() as session:
        assert keys.has_next_epoch(session)
        end = keys.sealable_until(session)
        late = session.get_one(EpochKeyRow, current).not_after + timedelta(days=1)
    change(world, following, not_before=late)
    with world.sessions() as session:
        assert not keys.has_next_epoch(session)
        assert keys.sealable_until(session) < end


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
        assert keys.sealable_until(session) is None
        assert not keys.has_next_epoch(session)
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


HALVES = [new_identity() for _ in range(2)]
ESCROW = Escrow((HALVES[0][1], HALVES[1][1]))


def test_every_new_key_gets_an_emergency_copy_where_two_people_are_named(world: World) -> None:
    patient = world.alice.patient_id or ""
    with world.sessions() as session, session.begin():
        epoch = keys.publish_epoch(session, world.master, world.root_private, escrow=ESCROW)
        kid, key = keys.patient_key(session, world.master, patient, escrow=ESCROW)
        private = keys.epoch_private_key(session, world.master, epoch).private_bytes_raw()
    halves = (HALVES[0][0], HALVES[1][0])
    with world.sessions() as session:
        of_patient = session.get_one(PatientKey, kid).emergency_copy or b""
        of_epoch = session.get_one(EpochKeyRow, epoch).emergency_copy or b""
    assert open_copy(of_patient, halves=halves, kid=kid) == key
    assert open_copy(of_epoch, halves=halves, kid=epoch) == private


def test_a_destroyed_key_with_an_emergency_copy_is_impossible(world: World) -> None:
    with world.sessions() as session, session.begin():
        kid = keys.publish_epoch(session, world.master, world.root_private, escrow=ESCROW)
        now = database_now(session)
    with pytest.raises(IntegrityError, match="epoch_key_destroyed_has_no_copy"):
        change(world, kid, private_wrapped=None, destroyed_at=now)


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
