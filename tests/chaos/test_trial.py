"""A trial says whether a fault was survived, and never hides what did not hold."""

from types import SimpleNamespace

import pytest

from tools.chaos import invariants, trial
from tools.chaos.fault import Fault
from tools.chaos.scene import NotSurvived, Scene
from tools.chaos.trial import Figures, tried

NO_CASES = Figures(0, 0)


def fault(inject: object = lambda _: None) -> Fault:
    return Fault(1, "a fault", "all holds", inject, load_every=None)  # type: ignore[arg-type]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene without an installation, on which everything holds."""
    monkeypatch.setattr(invariants, "problems", lambda _: [])
    monkeypatch.setattr(trial, "figures", lambda _: NO_CASES)
    made = Scene(
        SimpleNamespace(name="a stack"),  # type: ignore[arg-type]
        *(None, None, [], None, [], None),  # type: ignore[arg-type]
    )
    monkeypatch.setattr(Scene, "submit", lambda _self, count=1: ["case"] * count)
    monkeypatch.setattr(Scene, "all_ended", lambda _: True)
    return made


def test_a_fault_after_which_all_holds_is_survived(scene: Scene) -> None:
    outcome = tried(scene, fault())

    assert outcome.survived
    assert outcome.seconds_to_recover is not None
    assert outcome.stack == "a stack"


def test_what_a_fault_itself_demands_is_a_problem_when_it_does_not_hold(scene: Scene) -> None:
    def inject(scene: Scene) -> None:
        scene.must(condition=False, words="The relay crashed.")

    outcome = tried(scene, fault(inject))

    assert (outcome.problems, outcome.seconds_to_recover) == (["The relay crashed."], None)


def test_a_broken_invariant_is_a_problem(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "problems", lambda _: ["Case 1 was lost."])

    assert tried(scene, fault()).problems == ["Case 1 was lost."]


def test_cases_that_never_end_are_a_problem(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_self: Scene, _condition: object, seconds: float, *, what: str) -> float:
        raise NotSurvived(f"Within {seconds:g} s {what}.")

    monkeypatch.setattr(Scene, "until", never)

    assert tried(scene, fault()).problems == ["Within 120 s not every case had ended."]


def test_a_mistake_of_the_suite_is_no_outcome(scene: Scene) -> None:
    def mistaken(_: Scene) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tried(scene, fault(mistaken))


def test_latencies_are_told_as_median_p95_and_worst() -> None:
    found = Figures.of(5, 6, (1.0, 2.0, 3.0, 4.0, 10.0))
    assert (found.latency_p50, found.latency_max) == (3.0, 10.0)
    assert found.latency_p95 == pytest.approx(8.8)
    assert (NO_CASES.latency_p50, NO_CASES.latency_p95, NO_CASES.latency_max) == (None, None, None)
    assert Figures.of(1, 1, (2.0,)).latency_p95 == 2.0
