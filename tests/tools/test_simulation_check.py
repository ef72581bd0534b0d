"""What is read out of a run is what the run was made of."""

import numpy as np
import pytest

from tools.arrivals import DAY
from tools.simulation import Analysis, Duration, simulate
from tools.simulation_check import Passage, figures, model_of, simulated_figures, stream


def passages(model: Analysis, rate: float, seconds: float) -> list[Passage]:
    received = stream(rate, seconds, seed=5)
    outcome = simulate(model, None, received, end=DAY, seed=5)
    return [Passage(*pair) for pair in zip(outcome.received, outcome.analysed, strict=True)]


def test_the_model_of_a_simulated_run_is_the_model_that_made_it() -> None:
    made_of = Analysis(1, Duration(0.4, variation=0.25), wake_seconds=0.1)

    found = model_of(passages(made_of, rate=1.5, seconds=4000))

    assert found.duration.each == pytest.approx(0.4, rel=0.02)
    assert found.duration.variation == pytest.approx(0.25, rel=0.1)
    assert found.wake_seconds == pytest.approx(0.1, rel=0.1)


def test_a_run_that_is_simulated_again_has_the_same_figures() -> None:
    run = passages(Analysis(1, Duration(0.4, variation=0.25), wake_seconds=0.1), 1.5, 600)

    again = simulated_figures(model_of(run), [one.received for one in run], seed=1)

    for name, value in figures(run).items():
        assert again[name] == pytest.approx(value, rel=0.15), name


def test_the_stream_has_its_burst_in_the_middle() -> None:
    moments = stream(2.0, 2000, seed=1)

    counts, _ = np.histogram(moments, bins=5, range=(0, 2000))

    assert (np.abs(counts - np.array([800, 800, 1600, 800, 800])) < 5 * np.sqrt(1600)).all()
    assert list(stream(2.0, 2000, seed=1)) == list(moments)
