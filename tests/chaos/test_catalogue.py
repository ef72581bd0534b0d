"""The list of faults: all are there, each can be asked for, each fits some stack."""

import pytest

from tools.chaos.catalogue import FAULTS, NoSuchFaultError, chosen
from tools.chaos.stacks import Broker, Database, Stack

NEED_MORE = {26}  # a clone with its history
STACKS = [Stack(database, broker) for database in Database for broker in Broker]


def test_every_fault_has_a_name_of_its_own_and_says_what_must_hold() -> None:
    names = [one.name for one in FAULTS]
    assert len(set(names)) == len(names)
    assert all(one.must_hold for one in FAULTS)
    assert [one.number for one in FAULTS] == sorted(one.number for one in FAULTS)


@pytest.mark.parametrize("number", sorted(set(range(1, 31)) - NEED_MORE))
def test_the_number_is_tried(number: int) -> None:
    assert chosen([str(number)])


def test_a_fault_is_asked_for_by_name_or_number() -> None:
    assert {one.number for one in chosen(["14", "broker frozen"])} == {5, 14}
    assert chosen([]) == list(FAULTS)


def test_an_unknown_fault_is_refused_with_the_list() -> None:
    with pytest.raises(NoSuchFaultError, match=r"no fault 99\. There are: 1 worker"):
        chosen(["1", "99"])


def test_every_fault_fits_a_stack_and_each_stack_has_its_database_fault() -> None:
    assert all(any(fault.fits(stack) for stack in STACKS) for fault in FAULTS)
    for stack in STACKS:
        assert [fault.number for fault in FAULTS if fault.fits(stack)].count(14) == 1
