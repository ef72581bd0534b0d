"""What a fault is: how it is done to a running installation, and what must hold afterwards."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.chaos.scene import Scene
from tools.chaos.stacks import Database, Stack


@dataclass(frozen=True)
class Fault:
    """One entry of the list of faults.

    `inject` does the damage, waits while it lasts, and returns when it is over. It checks by
    `scene.must` and `scene.until` what holds only of this fault; the standing invariants
    (tools/chaos/invariants.py) are checked after each. It runs in the thread that supervises the
    programs, while cases arrive from another one if `load_every` (seconds) is set.
    """

    number: int
    name: str
    must_hold: str
    inject: Callable[[Scene], None]
    recover_seconds: float = 120.0  # at most, from its end until every case has ended
    cases_before: int = 2  # sent just before the fault
    load_every: float | None = 1.5
    load_cases: int = 6  # at most: a backlog that two processor cores work off in seconds
    fresh: bool = False  # leaves an installation that no other fault should meet
    database: Database | None = None  # the only one that can have this fault
    storm: bool = False  # its executions and latencies are worth a line of their own

    def fits(self, stack: Stack) -> bool:
        return self.database in {None, stack.database}
