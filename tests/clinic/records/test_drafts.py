"""Drafts: sealed, replaced by each save, one reader's own, and two tabs that do not overwrite."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from clinic.container import MAX_SLOT
from clinic.keeper_protocol import ObjectKind
from clinic.records import drafts, keys, submissions
from clinic.records.drafts import Draft, OutdatedDraftError
from clinic.records.models import CaseDraft, SealedObject, Submission
from tests.portal_tools import both_databases, table_bytes
from tests.world import Person, World


def save(world: World, case: str, text: str, revision: int, reader: Person | None = None) -> int:
    with world.sessions() as session, session.begin():
        draft = Draft((reader or world.bob).account_id, text, revision)
        recipient = keys.sealing_recipient(session, world.root_public_key)
        row = session.get_one(Submission, case)
        return drafts.save(session, world.blobs, row, draft, recipient=recipient).revision


def objects(world: World) -> list[SealedObject]:
    with world.sessions() as session:
        query = select(SealedObject).where(SealedObject.kind == ObjectKind.DRAFT)
        return list(session.scalars(query))


@both_databases
def test_each_save_takes_the_place_of_the_one_before_and_no_text_lies_open(world: World) -> None:
    case = world.first_read(world.alice, world.bob)

    assert save(world, case, "first words", 0) == 1
    assert save(world, case, "second words", 1) == 2

    (kept,) = objects(world)
    with world.sessions() as session:
        found = drafts.of_reader(session, case, reader_id=world.bob.account_id)
        assert found is not None
        assert (found.revision, found.object_id) == (2, kept.id)
    assert b"words" not in table_bytes(world)


@both_databases
@pytest.mark.parametrize("known", [0, 1, 3])
def test_a_tab_that_does_not_know_the_newest_draft_saves_nothing(world: World, known: int) -> None:
    case = world.first_read(world.alice, world.bob)
    save(world, case, "one", 0)
    save(world, case, "two", 1)

    with pytest.raises(OutdatedDraftError):
        save(world, case, "older", known)

    assert len(objects(world)) == 1
    assert save(world, case, "three", 2) == 3


@both_databases
def test_of_tabs_that_save_at_once_one_wins(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    save(world, case, "one", 0)

    def press(text: str) -> int | None:
        try:
            return save(world, case, text, 1)
        except OutdatedDraftError:
            return None

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(press, ["a", "b", "c", "d"]))

    assert sorted(ends, key=str) == [2, None, None, None]
    assert len(objects(world)) == 1


def test_the_next_reader_of_a_case_neither_reads_nor_meets_the_draft(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    save(world, case, "Bob thinks", 0)

    with world.sessions() as session:
        assert drafts.of_reader(session, case, reader_id=world.dan.account_id) is None
    assert save(world, case, "Dan thinks", 0, world.dan) == 1
    with world.sessions() as session:
        assert session.get_one(CaseDraft, case).reader_id == world.dan.account_id
    assert len(objects(world)) == 1


def test_a_thousand_saves_find_a_slot(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    save(world, case, "one", 0)
    with world.sessions() as session, session.begin():
        session.get_one(CaseDraft, case).revision = MAX_SLOT
    assert save(world, case, "two", MAX_SLOT) == MAX_SLOT + 1


def test_a_draft_goes_when_it_is_thrown_away_and_with_the_photos_that_it_is_about(
    world: World,
) -> None:
    case = world.first_read(world.alice, world.bob)
    save(world, case, "one", 0)
    with world.sessions() as session, session.begin():
        drafts.discard(session, case)
    assert objects(world) == []

    save(world, case, "one", 0)
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        row.case_state, row.retake_reason = "unreadable", "Not sharp."
        submissions.replace_photos(session, row)
    with world.sessions() as session:
        assert session.get(CaseDraft, case) is None
