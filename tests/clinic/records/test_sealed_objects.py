"""Sealed objects: what was stored is what is opened, or nothing is."""

import pytest
from sqlalchemy import select

from clinic.container import MalformedContainer
from clinic.envelope import WrongContext, seal, unwrap
from clinic.keeper_protocol import ObjectKind
from clinic.records import keys, sealed_objects
from clinic.records.blobs import MissingBlobError
from clinic.records.models import SealedObject
from clinic.records.sealed_objects import AlteredObjectError, Place
from tests.world import World


def photo(world: World) -> SealedObject:
    case = world.submit(world.alice)
    with world.sessions() as session:
        (row,) = sealed_objects.of_submission(session, case, [ObjectKind.PHOTO])
    return row


def file_key(world: World, row: SealedObject) -> bytes:
    header = sealed_objects.header_of(row)
    kid = header.recipients[0].kid
    with world.sessions() as session:
        private = keys.epoch_private_key(session, world.master, kid)
    return unwrap(header, kid=kid, private_key=private)


def test_a_photo_is_in_the_store_and_a_text_in_its_row(world: World) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session:
        rows = {row.kind: row for row in sealed_objects.of_submission(session, case, ObjectKind)}
    assert rows["photo"].body is None
    assert world.blobs.get(rows["photo"].id)
    assert rows["history"].body is not None
    with pytest.raises(MissingBlobError):
        world.blobs.get(rows["history"].id)
    assert rows["history"].body_size == len(rows["history"].body)


def test_what_was_sealed_comes_back(world: World) -> None:
    row = photo(world)
    found = sealed_objects.open_object(row, world.blobs, file_key=file_key(world, row))
    assert found.startswith(b"\xff\xd8")


def test_a_changed_body_is_refused_before_it_is_opened(world: World) -> None:
    row = photo(world)
    path = next(world.blobs.folder.rglob(row.id))
    body = bytearray(path.read_bytes())
    body[7] ^= 1
    path.write_bytes(bytes(body))
    with pytest.raises(AlteredObjectError, match="body"):
        sealed_objects.ciphertext(row, world.blobs)


def test_a_changed_core_is_refused(world: World) -> None:
    row = photo(world)
    row.header = row.header.replace(r"\"slot\":0", r"\"slot\":3")
    with pytest.raises(AlteredObjectError, match="header"):
        sealed_objects.ciphertext(row, world.blobs)


def test_a_header_that_is_none_is_refused(world: World) -> None:
    row = photo(world)
    row.header = "{}"
    with pytest.raises(MalformedContainer):
        sealed_objects.ciphertext(row, world.blobs)


def test_another_photo_with_its_own_digests_does_not_open_in_this_place(world: World) -> None:
    """Whoever can write to the database can move all of it; the bound context still says no."""
    mine, foreign = photo(world), photo(world)
    key = file_key(world, foreign)
    for name in ("header", "core_sha256", "body_sha256"):
        setattr(mine, name, getattr(foreign, name))
    path = next(world.blobs.folder.rglob(mine.id))
    path.write_bytes(world.blobs.get(foreign.id))
    with pytest.raises(WrongContext):
        sealed_objects.open_object(mine, world.blobs, file_key=key)


def test_only_the_current_objects_of_a_case_are_found_in_slot_order(world: World) -> None:
    case = world.submit(world.alice, photos={"overview": b"1", "close_up": b"2"})
    with world.sessions() as session, session.begin():
        rows = sealed_objects.of_submission(session, case, [ObjectKind.PHOTO])
        assert [row.slot for row in rows] == [0, 1]
        rows[0].current = False
    with world.sessions() as session:
        rows = sealed_objects.of_submission(session, case, [ObjectKind.PHOTO])
        assert [row.view for row in rows] == ["close_up"]
        assert sealed_objects.of_submission(session, case, []) == []


def test_the_newest_identity_of_a_patient_counts(world: World) -> None:
    patient = world.alice.patient_id or ""
    with world.sessions() as session, session.begin():
        recipient = keys.sealing_recipient(session, world.root_public_key)
        place = Place(patient, None, ObjectKind.IDENTITY, slot=1)
        newer = sealed_objects.add_text(session, world.blobs, place, "moved", recipient=recipient)
    with world.sessions() as session:
        found = sealed_objects.identity_of(session, patient)
        assert found is not None
        assert found.id == newer.id
        assert sealed_objects.identity_of(session, "nobody") is None


def test_a_place_is_its_context(world: World) -> None:
    row = photo(world)
    place = sealed_objects.place_of(row)
    context = place.context
    assert (context.submission, context.slot, context.type) == (row.submission_id, 0, "photo")
    identity = Place("patient-1", None, ObjectKind.IDENTITY)
    assert identity.context.submission == "patient-1"


def test_the_clear_text_is_nowhere_in_the_row(world: World) -> None:
    world.signed(world.alice, world.bob)
    with world.sessions() as session:
        stored = [row.body or b"" for row in session.scalars(select(SealedObject))]
    for marker in (b"This spot is harmless", b"A clinical note", b"Alice"):
        assert not [body for body in stored if marker in body]


def test_an_object_for_nobody_cannot_be_sealed() -> None:
    place = Place("patient-1", "case-1", ObjectKind.PHOTO)
    with pytest.raises(MalformedContainer):
        seal(b"x", context=place.context, recipients=[])
