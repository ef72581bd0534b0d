"""Emergency copies open with both halves, and with nothing less."""

import pytest

from clinic.escrow import Escrow, EscrowError, check_halves, open_copy
from clinic.sealed_part import new_identity

(HALF_A, PUBLIC_A), (HALF_B, PUBLIC_B), (STRANGER, _) = (new_identity() for _ in range(3))
ESCROW = Escrow((PUBLIC_A, PUBLIC_B))
SECRET = bytes(range(32))
COPY = ESCROW.copy(SECRET, kid="patient-7")


@pytest.mark.parametrize("halves", [(HALF_A, HALF_B), (HALF_B, HALF_A)])
def test_two_people_open_it_together_in_either_order(halves: tuple[str, str]) -> None:
    assert open_copy(COPY, halves=halves, kid="patient-7") == SECRET


@pytest.mark.parametrize(
    "halves", [(HALF_A, STRANGER), (HALF_B, STRANGER), (STRANGER, HALF_A), (STRANGER, HALF_B)]
)
def test_one_half_and_a_stranger_open_nothing(halves: tuple[str, str]) -> None:
    with pytest.raises(EscrowError, match="do not open"):
        open_copy(COPY, halves=halves, kid="patient-7")


@pytest.mark.parametrize("half", [HALF_A, HALF_B])
def test_one_half_given_twice_is_refused(half: str) -> None:
    with pytest.raises(EscrowError, match="two people"):
        open_copy(COPY, halves=(half, half), kid="patient-7")


def test_the_copy_of_another_key_is_refused() -> None:
    with pytest.raises(EscrowError, match="another key"):
        open_copy(COPY, halves=(HALF_A, HALF_B), kid="patient-8")


@pytest.mark.parametrize("at", [0, 100, 250, -1])
def test_a_changed_copy_is_refused(at: int) -> None:
    changed = bytearray(COPY)
    changed[at] ^= 1
    with pytest.raises(EscrowError):
        open_copy(bytes(changed), halves=(HALF_A, HALF_B), kid="patient-7")


def test_the_copy_shows_nothing_of_the_key() -> None:
    assert SECRET not in COPY
    assert ESCROW.copy(SECRET, kid="patient-7") != COPY


@pytest.mark.parametrize("halves", [(HALF_A, "no key"), ("", HALF_B), (PUBLIC_A, HALF_B)])
def test_what_is_no_half_is_refused_before_anything_is_opened(halves: tuple[str, str]) -> None:
    with pytest.raises(EscrowError, match="AGE-SECRET-KEY"):
        check_halves(halves)


def test_one_person_cannot_be_both() -> None:
    with pytest.raises(EscrowError, match="same"):
        Escrow((PUBLIC_A, PUBLIC_A))


def test_a_useless_public_key_is_refused_when_it_is_read() -> None:
    with pytest.raises(EscrowError, match="age1"):
        Escrow((PUBLIC_A, "age1nonsense"))
