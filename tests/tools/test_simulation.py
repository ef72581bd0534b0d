"""The model of the queues against closed forms of queueing theory, and its faults and limits.

M/M/c: Erlang's C formula. M/D/1: Pollaczek and Khinchine. (Kleinrock, Queueing Systems I, 1975.)
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from clinic.urgency import ORDER
from ml.triage import Urgency
from tools.arrivals import DAY, HOUR, Arrivals, Burst
from tools.simulation import (
    Analysis,
    Duration,
    Outage,
    Review,
    simulate,
    workers_needed,
)

SEED = 20261123
CASES = 30_000
BATCHES = 30


def stream(rate: float, cases: int, seed: int = SEED) -> np.ndarray:
    """A Poisson stream of constant rate."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, cases)
    return np.cumsum(gaps)


def mean_wait(analysis: Analysis, rate: float) -> tuple[float, float]:
    """Mean seconds of waiting and its standard error, by the means of batches."""
    received = stream(rate, CASES)
    outcome = simulate(analysis, None, received, end=float(received[-1]) * 2, seed=SEED)
    assert outcome.unanalysed() == 0
    settled = outcome.waits()[CASES // 10 :]
    means = [part.mean() for part in np.array_split(settled, BATCHES)]
    return float(np.mean(means)), float(np.std(means, ddof=1)) / math.sqrt(BATCHES)


def erlang_c_wait(*, rate: float, seconds: float, workers: int) -> float:
    """Mean wait in M/M/c."""
    load = rate * seconds
    waiting = load**workers / math.factorial(workers) * workers / (workers - load)
    others = sum(load**k / math.factorial(k) for k in range(workers))
    return waiting / (others + waiting) * seconds / (workers - load)


def pollaczek_khinchine_wait(*, rate: float, seconds: float, variation: float) -> float:
    """Mean wait in M/G/1."""
    load = rate * seconds
    return load * seconds * (1 + variation**2) / (2 * (1 - load))


@pytest.mark.parametrize(("workers", "load"), [(1, 0.5), (1, 0.7), (3, 0.8)])
def test_exponential_work_waits_as_erlang_says(workers: int, load: float) -> None:
    rate = load * workers / 2.0

    wait, error = mean_wait(Analysis(workers, Duration(2.0, variation=1.0)), rate)

    expected = erlang_c_wait(rate=rate, seconds=2.0, workers=workers)
    assert wait == pytest.approx(expected, abs=4 * error)
    assert error < 0.1 * expected


@pytest.mark.parametrize("variation", [0.0, 0.5])
def test_one_worker_waits_as_pollaczek_and_khinchine_say(variation: float) -> None:
    wait, error = mean_wait(Analysis(1, Duration(2.0, variation=variation)), 0.35)

    expected = pollaczek_khinchine_wait(rate=0.35, seconds=2.0, variation=variation)
    assert wait == pytest.approx(expected, abs=4 * error)
    assert error < 0.1 * expected


def test_one_seed_gives_one_result() -> None:
    def run(seed: int) -> list[float]:
        analysis = Analysis(2, Duration(1.0, variation=0.5), losses_per_hour=5.0)
        outcome = simulate(analysis, None, stream(1.5, 500), end=HOUR, seed=seed)
        return list(outcome.analysed)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_an_idle_worker_is_woken_and_a_busy_one_goes_on_at_once() -> None:
    analysis = Analysis(1, Duration(2.0), wake_seconds=0.5)

    outcome = simulate(analysis, None, np.array([0.0, 1.0, 10.0]), end=60, seed=1)

    assert list(outcome.analysed) == [2.5, 4.5, 12.5]


def test_a_batch_is_what_waits_up_to_its_limit() -> None:
    analysis = Analysis(1, Duration(each=1.0, fixed=2.0), batch=3)

    outcome = simulate(analysis, None, np.array([0.0, 1.0, 1.0, 1.0, 1.0]), end=60, seed=1)

    assert list(outcome.started) == [0, 3, 3, 3, 8]
    assert list(outcome.analysed) == [3, 8, 8, 8, 11]
    assert outcome.largest_backlog() == 4


def test_a_dead_worker_s_cases_wait_for_the_lease_and_are_not_lost() -> None:
    calm = Analysis(2, Duration(30.0, variation=0.3), lease_seconds=90.0)
    received = stream(0.03, 400)
    end = float(received[-1]) + DAY

    lossy = replace(calm, losses_per_hour=10.0)
    quiet, shaken = (simulate(one, None, received, end=end, seed=3) for one in (calm, lossy))

    assert shaken.unanalysed() == quiet.unanalysed() == 0
    assert np.percentile(shaken.latencies(), 99) > np.percentile(quiet.latencies(), 99) + 60


def test_in_an_outage_cases_wait_and_then_all_are_done() -> None:
    received = np.arange(0, 3 * HOUR, 60.0)
    analysis = Analysis(1, Duration(30.0), outages=(Outage(start_hour=1, hours=0.5),))

    outcome = simulate(analysis, None, received, end=DAY, seed=1)

    in_it = (outcome.started >= HOUR) & (outcome.started < 1.5 * HOUR)
    assert not in_it.any()
    assert outcome.unanalysed() == 0
    assert outcome.largest_backlog() == 31, "one a minute, from minute 60 to minute 90"


def test_half_of_the_workers_away_is_half_of_the_capacity() -> None:
    analysis = Analysis(2, Duration(10.0), outages=(Outage(0, 24, share=0.5),))

    outcome = simulate(analysis, None, np.zeros(6), end=HOUR, seed=1)

    assert list(outcome.analysed) == [10, 20, 30, 40, 50, 60]


def test_cases_come_as_the_hours_and_bursts_say() -> None:
    hourly = (0.0,) * 12 + (1.0,) * 12
    arrivals = Arrivals(24_000, hourly, (Burst(start_hour=13, hours=1, factor=3),))

    moments = arrivals.draw(np.random.default_rng(SEED), days=2)

    counts, _ = np.histogram(moments, bins=48, range=(0, 2 * DAY))
    assert not counts[:12].any()
    assert not counts[24:36].any()
    expected = np.array([2000, 6000, *[2000] * 10])
    assert (np.abs(counts[12:24] - expected) < 5 * np.sqrt(expected)).all()
    assert abs(counts[37] - 2000) < 5 * math.sqrt(2000), "a burst comes once"
    assert arrivals.highest(2) == pytest.approx(6000 / HOUR)
    assert (np.diff(moments) >= 0).all()


ALL_URGENT, ALL_ROUTINE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
AT_ONCE = Analysis(1, Duration(0.001))


def test_readers_work_in_their_hours_of_working_days() -> None:
    review = Review(1, Duration(HOUR), from_hour=9, to_hour=17)
    friday_evening = 4 * DAY + 16.5 * HOUR

    outcome = simulate(
        AT_ONCE, review, np.array([0.0, friday_evening, friday_evening]), end=14 * DAY, seed=1
    )

    hours = sorted(round(one / HOUR, 2) for one in outcome.signed)
    assert hours == [10.0, 4 * 24 + 17.5, 7 * 24 + 10.0]


def test_the_urgent_case_is_read_first_whenever_it_came() -> None:
    review = Review(1, Duration(HOUR), shares=(0.5, 0.0, 0.5))

    outcome = simulate(AT_ONCE, review, np.linspace(0, HOUR, 8), end=DAY, seed=2)

    in_order = outcome.urgency[np.argsort(outcome.signed)]
    assert set(in_order) == {0, 2}
    assert (np.diff(in_order) >= 0).all()


@pytest.mark.parametrize(("shares", "urgency"), [(ALL_URGENT, "urgent"), (ALL_ROUTINE, "routine")])
def test_a_limit_is_broken_where_readers_are_too_few(
    shares: tuple[float, ...], urgency: str
) -> None:
    received = np.arange(0, 5 * DAY, 0.5 * HOUR)  # 48 cases a day; a reader signs 16 in 8 hours
    review = Review(1, Duration(0.5 * HOUR), shares=shares)
    enough = replace(review, readers=4)

    few, many = (simulate(AT_ONCE, one, received, end=30 * DAY, seed=1) for one in (review, enough))

    late, known = few.breaches(Urgency(urgency))
    assert late > 0
    assert known == len(received)
    assert many.breaches(Urgency(urgency)) == (0, len(received))
    assert few.breaches(next(one for one in ORDER if one != urgency)) == (0, 0)


def test_the_needed_workers_meet_the_target_and_one_fewer_does_not() -> None:
    analysis = Analysis(1, Duration(2.0, variation=1.0))
    received = stream(3.0, 5000)
    end = float(received[-1]) + HOUR

    needed = workers_needed(analysis, received, end=end, target_p95=8.0, seed=1)

    def p95(workers: int) -> float:
        several = replace(analysis, workers=workers)
        return float(
            np.percentile(simulate(several, None, received, end=end, seed=1).latencies(), 95)
        )

    assert p95(needed) <= 8.0 < p95(needed - 1)
    assert needed >= 7, "six would be busy all the time"


def test_no_number_of_workers_makes_one_case_faster() -> None:
    with pytest.raises(ValueError, match="One case alone"):
        workers_needed(Analysis(1, Duration(9.0)), stream(1, 10), end=60, target_p95=8, seed=1)
