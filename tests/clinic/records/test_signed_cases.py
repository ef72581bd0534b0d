"""Signed cases: their lists, who keeps them, and how they change hands, on both databases."""

from functools import partial

import pytest
from sqlalchemy import update

from clinic.hand_over import HandOverReason
from clinic.records import hand_overs, signed_cases
from clinic.records.db import database_now
from clinic.records.models import Account, Submission
from clinic.records.signed_cases import Cursor, Keeper, SignedCase
from tests.portal_tools import row_of
from tests.query_plans import plan_of
from tests.threads import at_once
from tests.world import Person, World


def page(
    world: World,
    reader: Person,
    keeper: Keeper,
    id_prefix: str = "",
    after: Cursor | None = None,
) -> list[SignedCase]:
    with world.sessions() as session:
        return signed_cases.signed_page(
            session,
            clinic_id=reader.clinic_id,
            reader_id=reader.account_id,
            keeper=keeper,
            id_prefix=id_prefix,
            after=after,
        )


def ids(found: list[SignedCase]) -> list[str]:
    return [one.submission.id for one in found]


def leaves(world: World, person: Person) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Account, person.account_id).disabled_at = database_now(session)


def take_over(world: World, case: str, reader: Person) -> bool:
    with world.sessions() as session, session.begin():
        return signed_cases.take_over(session, case, reader_id=reader.account_id)


def hand_over(world: World, case: str, reader: Person, to: Person) -> bool:
    with world.sessions() as session, session.begin():
        return signed_cases.hand_over(
            session,
            session.get_one(Submission, case),
            reader_id=reader.account_id,
            to_id=to.account_id,
            reason=HandOverReason.END_OF_SHIFT,
        )


def test_each_list_shows_its_signed_cases_the_newest_first(world: World) -> None:
    first, second = (world.signed(world.alice, world.bob) for _ in range(2))
    of_dan = world.signed(world.carol, world.dan)
    world.first_read(world.alice, world.bob)

    assert ids(page(world, world.bob, Keeper.MINE)) == [second, first]
    assert ids(page(world, world.bob, Keeper.ANYBODY)) == [of_dan, second, first]
    assert page(world, world.bob, Keeper.NOBODY) == []
    assert page(world, world.frank, Keeper.ANYBODY) == []


def test_what_somebody_kept_who_left_nobody_answers_for(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    world.signed(world.alice, world.dan)
    leaves(world, world.bob)

    (left,) = page(world, world.dan, Keeper.NOBODY)
    assert (left.submission.id, left.keeper) == (case, None)


def test_a_case_is_found_by_how_its_number_begins(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    other = world.signed(world.alice, world.bob)
    found = partial(page, world, world.bob, Keeper.ANYBODY)

    assert ids(found(case[:8])) == [case]
    assert set(ids(found(""))) == {case, other}
    assert ids(found("x")) == []


def test_pages_join_without_a_gap_or_a_twin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_cases, "PAGE_SIZE", 2)
    cases = [world.signed(world.alice, world.bob) for _ in range(3)]
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).values(received_at=database_now(session)))

    first = page(world, world.bob, Keeper.MINE)
    assert len(first) == 3
    last = first[1].submission
    rest = page(world, world.bob, Keeper.MINE, after=Cursor(last.received_at, last.id))
    assert {*ids(first[:2]), *ids(rest)} == set(cases)
    assert len(rest) == 1


@pytest.mark.parametrize("keeper", [Keeper.MINE, Keeper.ANYBODY])
def test_the_lists_read_an_index_in_its_order(world: World, keeper: Keeper) -> None:
    plan = plan_of(
        world.sessions,
        partial(
            signed_cases.signed_page,
            clinic_id=world.clinic_id,
            reader_id=world.bob.account_id,
            keeper=keeper,
        ),
    )
    assert "submission_kept_by" in plan or "submission_signed_by_sending" in plan, plan


def test_only_the_case_of_somebody_who_left_is_taken_over_and_once(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    assert not take_over(world, case, world.dan)
    leaves(world, world.bob)

    answers = at_once(*[partial(take_over, world, case, world.dan)] * 3)

    assert sorted(answers) == [False, False, True]
    assert row_of(world, case).claimed_by == world.dan.account_id


def test_an_open_case_is_not_taken_over_as_a_report(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    leaves(world, world.bob)
    assert not take_over(world, case, world.dan)


def test_a_keeper_passes_a_signed_case_on_and_it_is_on_record(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    assert not hand_over(world, case, world.dan, world.bob)
    assert hand_over(world, case, world.bob, world.dan)

    assert row_of(world, case).claimed_by == world.dan.account_id
    with world.sessions() as session:
        last = hand_overs.last_hand_over(session, case)
        assert last is not None
        assert (last.from_id, last.to_id) == (world.bob.account_id, world.dan.account_id)


def test_no_open_case_is_passed_on_as_a_report(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    assert not hand_over(world, case, world.bob, world.dan)
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).values(claim_until=None))
    assert not hand_over(world, case, world.bob, world.dan)
