"""Every fault of the suite, in the order of its number."""

from tools.chaos import (
    faults_of_the_broker,
    faults_of_the_database,
    faults_of_the_keys,
    faults_of_the_programs,
    faults_of_the_worker,
    storms,
)
from tools.chaos.fault import Fault

FAULTS: tuple[Fault, ...] = tuple(
    sorted(
        (
            *faults_of_the_worker.FAULTS,
            *faults_of_the_broker.FAULTS,
            *faults_of_the_programs.FAULTS,
            *faults_of_the_database.FAULTS,
            *faults_of_the_keys.FAULTS,
            *storms.FAULTS,
        ),
        key=lambda fault: fault.number,
    )
)


class NoSuchFaultError(Exception):
    """No fault has this name or number; the message lists them."""


def chosen(wanted: list[str]) -> list[Fault]:
    """The faults of these names or numbers; all of them when none is named.

    Raises:
        NoSuchFaultError: a name or number is unknown.

    """
    if not wanted:
        return list(FAULTS)
    known = {name for fault in FAULTS for name in (fault.name, str(fault.number))}
    unknown = [one for one in wanted if one not in known]
    if unknown:
        listed = "; ".join(f"{fault.number} {fault.name}" for fault in FAULTS)
        raise NoSuchFaultError(f"There is no fault {', '.join(unknown)}. There are: {listed}")
    return [fault for fault in FAULTS if {fault.name, str(fault.number)} & set(wanted)]
