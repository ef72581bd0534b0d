"""Recovery codes: ten, each once, each of one person, however they are typed."""

from clinic.records import recovery_codes
from tests.threads import at_once
from tests.world import World


def renewed(world: World, name: str = "alice") -> list[str]:
    with world.sessions() as session, session.begin():
        return recovery_codes.renew(session, world.people[name].account_id)


def spend(world: World, typed: str, name: str = "alice") -> bool:
    with world.sessions() as session, session.begin():
        return recovery_codes.spend(session, world.people[name].account_id, typed)


def left(world: World, name: str = "alice") -> int:
    with world.sessions() as session:
        return recovery_codes.left(session, world.people[name].account_id)


def test_each_of_ten_codes_works_once(world: World) -> None:
    codes = renewed(world)

    assert len(set(codes)) == left(world) == recovery_codes.HOW_MANY == 10
    assert [spend(world, one) for one in codes + codes] == [True] * 10 + [False] * 10
    assert left(world) == 0


def test_a_code_has_120_bits_in_groups_that_nobody_misreads(world: World) -> None:
    for code in renewed(world):
        groups = code.split("-")
        assert [len(group) for group in groups] == [4] * 6
        assert not set(code) & set("01IO")


def test_small_letters_and_spaces_do_not_matter_but_every_letter_does(world: World) -> None:
    first, second, *_ = renewed(world)

    assert spend(world, f" {first.lower().replace('-', ' ')} ")
    assert not spend(world, second[:-1])
    assert not spend(world, "")


def test_ones_codes_are_of_no_use_to_another(world: World) -> None:
    code = renewed(world)[0]
    renewed(world, "carol")

    assert not spend(world, code, "carol")
    assert spend(world, code)


def test_new_codes_end_the_old_ones(world: World) -> None:
    old = renewed(world)
    renewed(world)

    assert not spend(world, old[0])
    assert left(world) == 10


def test_two_browsers_cannot_use_one_code_together(world: World) -> None:
    code = renewed(world)[0]

    assert sorted(at_once(*[lambda: spend(world, code)] * 4)) == [False] * 3 + [True]
