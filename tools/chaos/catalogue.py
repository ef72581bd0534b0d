"""Every fault of the suite, in the order of its number."""

from tools.chaos import (
    faults_of_erasure,
    faults_of_photos,
    faults_of_storage,
    faults_of_the_audit,
    faults_of_the_broker,
    faults_of_the_clock,
    faults_of_the_database,
    faults_of_the_keeper,
    faults_of_the_keys,
    faults_of_the_model,
    faults_of_the_portal,
    faults_of_the_programs,
    faults_of_the_record_system,
    faults_of_the_records,
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
            *faults_of_photos.FAULTS,
            *faults_of_the_portal.FAULTS,
            *faults_of_storage.FAULTS,
            *faults_of_the_keeper.FAULTS,
            *faults_of_the_clock.FAULTS,
            *faults_of_the_model.FAULTS,
            *faults_of_the_audit.FAULTS,
            *faults_of_the_record_system.FAULTS,
            *faults_of_the_records.FAULTS,
            *faults_of_erasure.FAULTS,
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
