"""The most telling faults, done to real programs over real servers; `make chaos` does all."""

from collections.abc import Iterator

import pytest

from tests.bundles import small_bundle
from tools.chaos.catalogue import chosen
from tools.chaos.opening import Plan, opened
from tools.chaos.scene import Scene
from tools.chaos.stacks import Broker, Database, Stack
from tools.chaos.trial import tried

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Outages of seconds, and an ensemble that loads at once; `make chaos` has the live one."""
    weights = tmp_path_factory.mktemp("weights")
    small_bundle(weights)
    return Plan(weights, seed=1, short=True)


@pytest.fixture(scope="module")
def on_sqlite(plan: Plan) -> Iterator[Scene]:
    with opened(Stack(Database.SQLITE, Broker.VALKEY), plan) as scene:
        yield scene


@pytest.fixture(scope="module")
def on_postgres(plan: Plan) -> Iterator[Scene]:
    with opened(Stack(Database.POSTGRES, Broker.VALKEY), plan) as scene:
        yield scene


@pytest.mark.parametrize(
    "name",
    [
        "worker killed",
        "hint lost with its worker",
        "broker killed, nothing kept",
        "two relays, two reconcilers",
        "database locked",
    ],
)
def test_the_fault_is_survived(on_sqlite: Scene, name: str) -> None:
    _survived(on_sqlite, name)


@pytest.mark.postgres
@pytest.mark.parametrize("name", ["worker's child killed", "database down"])
def test_the_fault_is_survived_on_postgresql(on_postgres: Scene, name: str) -> None:
    _survived(on_postgres, name)


def _survived(scene: Scene, name: str) -> None:
    (fault,) = chosen([name])

    outcome = tried(scene, fault)

    assert outcome.problems == []
    assert outcome.figures.cases >= fault.cases_before + 1
    assert outcome.figures.executions >= outcome.figures.cases
    assert outcome.figures.latency_max is not None
