"""`pytest tests/fuzz --fuzz-inputs 100000` (`make fuzz`) tries that many inputs for each target.

Without the option each target gets a few hundred, the same ones each time.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings

SHORT = 200
# Almost all on the quick database, the rest on the one that refuses more.
SHARES = pytest.mark.parametrize(
    ("database_url", "part"),
    [("sqlite", 1.0), pytest.param("postgresql", 0.1, marks=pytest.mark.postgres)],
    indirect=["database_url"],
    ids=["sqlite", "postgresql"],
)
RESULTS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-inputs", type=int, default=SHORT, help="inputs for each target")


@dataclass
class Budget:
    """How many inputs a target gets, and how many it has tried."""

    inputs: int
    tried: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def is_short(self) -> bool:
        return self.inputs == SHORT

    def settings(self, *, part: float = 1.0) -> settings:
        """For Hypothesis; `part` of the inputs."""
        return settings(
            max_examples=int(self.inputs * part),
            deadline=None,
            database=None,
            derandomize=self.is_short,
            suppress_health_check=list(HealthCheck),
        )


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Iterator[Budget]:
    config = request.config
    found = Budget(config.getoption("fuzz_inputs", SHORT) or SHORT)
    yield found
    seconds = time.monotonic() - found.started
    failed = request.node.stash.get(FAILED, False)
    line = f"{request.node.name}: {found.tried} inputs, {seconds:.0f} s, {int(failed)} findings"
    config.stash.setdefault(RESULTS, []).append(line)


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.getoption("fuzz_inputs", SHORT) == SHORT:
        return
    terminalreporter.section("fuzzing")
    for line in config.stash.get(RESULTS, []):
        terminalreporter.write_line(line)
