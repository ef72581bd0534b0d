"""Time for the tests of watchdogs: it passes only while they sleep."""

from collections.abc import Callable


class Ended(Exception):
    """The watchdog would have ended the process."""


class TimeIsOver(Exception):
    """Nothing was noticed until the end of the test."""


class Clock:
    """Stands in for the module `time`; `meanwhile` is called after each sleep."""

    def __init__(self, *, ends: float) -> None:
        self.now = 0.0
        self.meanwhile: Callable[[], None] = lambda: None
        self._ends = ends

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self._ends:
            raise TimeIsOver
        self.meanwhile()
