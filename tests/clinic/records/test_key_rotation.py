"""The master key and a patient's key are exchanged: nothing is lost, and the old one ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select, update

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.master_key import LocalMasterKey, MasterKeyError, prefix_of
from clinic.records import key_rotation, keys, sealed_objects, stored_keys
from clinic.records.key_rotation import MasterRotation, RotationError
from clinic.records.models import EpochKeyRow, MasterKeyHead, PatientKey, SealedObject
from tests.portal_tools import entries
from tests.world import World

OLD = LocalMasterKey(b"m" * 32)  # the world's
NEW = LocalMasterKey(b"n" * 32)
BOTH = LocalMasterKey(NEW.key, (OLD.key,))
(OLD_ID,), (NEW_ID,) = OLD.ids(), NEW.ids()


def rotate(world: World, master: LocalMasterKey = BOTH) -> MasterRotation:
    return key_rotation.rotate_master(world.sessions, master, world.auditor, actor="test")


def in_use(world: World) -> dict[str, int]:
    with world.sessions() as session:
        return stored_keys.by_master_key(session)


def with_patient_keys(world: World, count: int) -> None:
    with world.sessions() as session, session.begin():
        for n in range(count):
            keys.patient_key(session, OLD, f"{n:032x}")


def open_all(world: World, master: LocalMasterKey) -> int:
    """How many of the stored keys this master key opens."""
    opened = 0
    with world.sessions() as session:
        epochs = [(row.kid, row.private_wrapped) for row in session.scalars(select(EpochKeyRow))]
        patients = [(row.kid, row.wrapped) for row in session.scalars(select(PatientKey))]
    for kid, wrapped in epochs + patients:
        try:
            opened += len(master.unwrap(wrapped or b"", context=kid)) == 32
        except MasterKeyError:
            continue
    return opened


def test_every_stored_key_moves_and_the_old_master_key_opens_nothing_any_more(
    world: World,
) -> None:
    with_patient_keys(world, stored_keys.BATCH + 3)
    total = stored_keys.BATCH + 4
    assert in_use(world) == {OLD_ID: total}

    done = rotate(world)

    assert (done.key_id, done.rewrapped, done.unopened) == (NEW_ID, total, ())
    assert in_use(world) == {NEW_ID: total}
    assert open_all(world, NEW) == total
    assert open_all(world, OLD) == 0
    (entry,) = entries(world, AuditAction.MASTER_KEY_ROTATED)
    assert f"to {NEW_ID}: {total} keys" in entry.detail


def test_a_second_run_finds_nothing_to_do(world: World) -> None:
    rotate(world)
    assert rotate(world).rewrapped == 0


@dataclass(frozen=True)
class CutOff:
    """A master key whose process ends after some keys."""

    keys: LocalMasterKey
    left: list[int]

    def ids(self) -> tuple[str, ...]:
        return self.keys.ids()

    def wrap(self, secret: bytes, *, context: str, key_id: str) -> bytes:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise KeyboardInterrupt
        return self.keys.wrap(secret, context=context, key_id=key_id)

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        return self.keys.unwrap(wrapped, context=context)


def test_cut_off_it_leaves_every_key_usable_and_goes_on(world: World) -> None:
    with_patient_keys(world, stored_keys.BATCH + 3)
    total = stored_keys.BATCH + 4
    with pytest.raises(KeyboardInterrupt):
        key_rotation.rotate_master(
            world.sessions, CutOff(BOTH, [stored_keys.BATCH + 2]), world.auditor, actor="test"
        )

    assert in_use(world) == {NEW_ID: stored_keys.BATCH + 1, OLD_ID: 3}
    assert open_all(world, BOTH) == total

    assert rotate(world).rewrapped == 3
    assert in_use(world) == {NEW_ID: total}


def test_from_its_first_step_on_new_keys_are_wrapped_by_the_new_master_key(world: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        key_rotation.rotate_master(world.sessions, CutOff(BOTH, [0]), world.auditor, actor="test")

    with world.sessions() as session, session.begin():
        kid, _ = keys.patient_key(session, BOTH, world.alice.patient_id or "")
    with world.sessions() as session:
        wrapped = session.get_one(PatientKey, kid).wrapped or b""
    assert wrapped.startswith(prefix_of(NEW_ID))


def test_a_keeper_that_was_not_shown_the_new_master_key_makes_no_key(world: World) -> None:
    """Else the key that it makes would be lost with the old master key."""
    rotate(world)
    with (
        world.sessions() as session,
        session.begin(),
        pytest.raises(MasterKeyError, match=f"{NEW_ID} is needed"),
    ):
        keys.patient_key(session, OLD, world.alice.patient_id or "")


def test_a_key_that_does_not_open_is_named_and_holds_no_other_up(world: World) -> None:
    with_patient_keys(world, 3)
    with world.sessions() as session, session.begin():
        kid = session.scalars(select(PatientKey.kid).order_by(PatientKey.kid)).first()
        broken = prefix_of(OLD_ID) + bytes(60)
        session.execute(update(PatientKey).where(PatientKey.kid == kid).values(wrapped=broken))

    done = rotate(world)

    assert (done.rewrapped, done.unopened) == (3, (kid,))
    assert in_use(world) == {NEW_ID: 3, OLD_ID: 1}


def retire(world: World, drop: Callable[[], object], master: LocalMasterKey = BOTH) -> None:
    key_rotation.retire_master(world.sessions, master, world.auditor, drop=drop, actor="test")


def test_a_master_key_that_is_still_needed_is_not_retired(world: World) -> None:
    dropped: list[bool] = []

    with pytest.raises(RotationError, match="1 stored keys still need another"):
        retire(world, lambda: dropped.append(True))
    assert entries(world, AuditAction.MASTER_KEY_RETIRED) == []

    rotate(world)
    retire(world, lambda: dropped.append(True))
    assert dropped == [True]
    (entry,) = entries(world, AuditAction.MASTER_KEY_RETIRED)
    assert entry.detail == f"all but {NEW_ID}"


def test_a_master_key_that_wraps_what_is_new_is_not_retired(world: World) -> None:
    rotate(world)
    with world.sessions() as session, session.begin():
        session.execute(update(MasterKeyHead).values(key_id=OLD_ID))
    with pytest.raises(RotationError):
        retire(world, lambda: pytest.fail("it was destroyed"))


# --- a patient's key ---


@pytest.fixture
def case(world: World) -> str:
    case = world.signed(world.alice, world.bob)
    world.keeper.settle(world.alice.patient_id or "")
    return case


def rotate_patient(world: World, patient_id: str | None = None) -> int:
    with world.sessions() as session, session.begin():
        return key_rotation.rotate_patient(
            session,
            OLD,
            world.auditor,
            patient_id=patient_id or world.alice.patient_id or "",
            actor="test",
        )


def texts(world: World, case: str) -> dict[str, bytes]:
    """Everything of the case, opened by the keeper's own way."""
    opened = {}
    with world.sessions() as session:
        for row in sealed_objects.of_submission(session, case, ObjectKind):
            _, file_key = world.keeper._opened(session, row)
            opened[row.kind] = sealed_objects.open_object(row, world.blobs, file_key=file_key)
    return opened


def test_all_of_a_patient_opens_under_the_new_key_and_the_old_one_is_gone(
    world: World, case: str
) -> None:
    before = texts(world, case)
    with world.sessions() as session:
        headers = {row.id: row.header for row in session.scalars(select(SealedObject))}

    assert rotate_patient(world) == 8

    with world.sessions() as session:
        old, new = session.scalars(select(PatientKey).order_by(PatientKey.version))
        rows = sealed_objects.of_submission(session, case, ObjectKind)
        assert (old.version, new.version) == (1, 2)
        assert (old.wrapped, old.emergency_copy) == (None, None)
        assert old.destroyed_at is not None
        for row in rows:
            assert [one.kid for one in sealed_objects.header_of(row).recipients] == [new.kid]
            assert row.header != headers[row.id]
    assert texts(world, case) == before
    (entry,) = entries(world, AuditAction.PATIENT_KEY_ROTATED)
    assert (entry.patient_id, entry.detail) == (world.alice.patient_id, "version 2, 8 objects")


def test_what_waits_for_the_worker_stays_with_the_epoch_key_and_moves_under_the_new_one(
    world: World, case: str
) -> None:
    waiting = world.submit(world.alice)

    rotate_patient(world)

    assert set(texts(world, waiting)) == {ObjectKind.PHOTO, ObjectKind.HISTORY}
    assert case != waiting


def test_another_patient_s_key_stays(world: World, case: str) -> None:
    other = world.signed(world.carol, world.bob)
    world.keeper.settle(world.carol.patient_id or "")
    before = texts(world, other)

    rotate_patient(world)

    with world.sessions() as session:
        of_carol = select(PatientKey).where(PatientKey.patient_id == world.carol.patient_id)
        assert session.scalars(of_carol).one().version == 1
    assert texts(world, other) == before
    assert texts(world, case)


def test_one_object_that_does_not_open_keeps_the_old_key(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        letter, history = (
            sealed_objects.of_submission(session, case, [kind])[0]
            for kind in (ObjectKind.LETTER, ObjectKind.HISTORY)
        )
        letter.header = replace(
            sealed_objects.header_of(letter),
            recipients=sealed_objects.header_of(history).recipients,
        ).to_json()

    with pytest.raises(RotationError, match=letter.id):
        rotate_patient(world)

    with world.sessions() as session:
        assert session.scalars(select(PatientKey)).one().destroyed_at is None
    assert entries(world, AuditAction.PATIENT_KEY_ROTATED) == []


def test_a_patient_without_a_key_has_nothing_to_exchange(world: World) -> None:
    with pytest.raises(RotationError, match="no key yet, or was erased"):
        rotate_patient(world, world.carol.patient_id)


def test_a_view_that_read_the_header_before_the_exchange_opens_all_the_same(
    world: World, case: str
) -> None:
    with world.sessions() as session:
        (row,) = sealed_objects.of_submission(session, case, [ObjectKind.LETTER])
        session.expunge(row)
    rotate_patient(world)

    with world.sessions() as session:
        session.add(row)
        _, file_key = world.keeper._opened(session, row)
        assert sealed_objects.open_object(row, world.blobs, file_key=file_key)
