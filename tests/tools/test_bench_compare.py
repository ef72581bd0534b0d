"""A slowdown is told from noise, and what was not compared is named."""

import math

import numpy as np
import pytest

from tools.bench_compare import FAILURES, FLOOR, Kept, Verdict, compare, noise
from tools.bench_result import Better, Outcome, Ratio

NOISY = (1.0, 1.04, 0.96, 1.02, 0.98)


def outcome(*rounds: float, name: str = "engine", better: Better = "higher") -> Outcome:
    return Outcome("analysis", {}, (Ratio(name, better, rounds),))


def kept(*rounds: float, name: str = "engine", better: Better = "higher") -> dict[str, Kept]:
    return {name: Kept.of("analysis", Ratio(name, better, rounds))}


def verdict(kept_rounds: tuple[float, ...], rounds: tuple[float, ...], better: Better) -> Verdict:
    (found,) = compare(kept(*kept_rounds, better=better), [outcome(*rounds, better=better)])
    return found.verdict


def scaled(share: float) -> tuple[float, ...]:
    return tuple(share * one for one in NOISY)


def test_a_real_slowdown_fails_whichever_way_is_better() -> None:
    assert verdict(NOISY, scaled(0.7), "higher") is Verdict.WORSE
    assert verdict(NOISY, scaled(1.4), "lower") is Verdict.WORSE
    assert Verdict.WORSE in FAILURES


def test_a_gain_is_no_failure() -> None:
    assert verdict(NOISY, scaled(1.4), "higher") is Verdict.BETTER
    assert verdict(NOISY, scaled(0.7), "lower") is Verdict.BETTER


def test_noise_passes() -> None:
    """Two hundred pairs of runs of the same code, each round with five per cent of noise."""
    generator = np.random.default_rng(3)
    for _ in range(200):
        first, second = np.exp(0.05 * generator.standard_normal((2, 5)))
        assert verdict(tuple(first), tuple(second), "higher") not in FAILURES


def test_a_slowdown_by_half_is_seen_through_the_same_noise() -> None:
    generator = np.random.default_rng(4)
    for _ in range(200):
        first, second = np.exp(0.05 * generator.standard_normal((2, 5)))
        found = verdict(tuple(first), tuple(second / 2), "higher")
        assert found in {Verdict.WORSE, Verdict.UNCLEAR}


def test_a_change_below_the_floor_passes_even_without_noise() -> None:
    steady = (2.0,) * 5
    just, more = 2 / (1 + FLOOR) * 1.001, 2 / (1 + FLOOR) * 0.999
    assert verdict(steady, (just,) * 5, "higher") is Verdict.HELD
    assert verdict(steady, (more,) * 5, "higher") is Verdict.WORSE


def test_one_bad_round_does_not_decide() -> None:
    assert verdict(NOISY, (*NOISY[:4], 0.2), "higher") is Verdict.HELD


def test_a_run_too_noisy_to_judge_is_called_unclear() -> None:
    wild = (0.3, 0.6, 1.0, 1.8, 3.0)
    assert verdict(wild, wild, "higher") is Verdict.UNCLEAR


def test_few_rounds_are_allowed_more() -> None:
    assert verdict((1.0,), (1 / 1.29,), "higher") is Verdict.HELD
    assert verdict((1.0,), (1 / 1.31,), "higher") is Verdict.WORSE


def test_a_missing_and_a_new_ratio_are_named() -> None:
    found = compare(kept(*NOISY, name="gone"), [outcome(*NOISY, name="fresh")])
    assert [(one.name, one.verdict) for one in found] == [
        ("fresh", Verdict.NEW),
        ("gone", Verdict.MISSING),
    ]
    assert Verdict.MISSING in FAILURES
    assert Verdict.NEW not in FAILURES


def test_a_benchmark_that_did_not_run_is_not_missing() -> None:
    elsewhere = {"other": Kept("pages", 1.0, "lower", 0.01, 5)}
    assert compare(elsewhere, []) == []


def test_the_words_say_by_how_much() -> None:
    (found,) = compare(kept(*NOISY), [outcome(*scaled(0.5))])
    assert "100% worse" in found.words


def test_noise_is_the_deviation_of_normal_rounds() -> None:
    rounds = np.exp(0.1 * np.random.default_rng(5).standard_normal(20_001))
    assert noise(rounds.tolist()) == pytest.approx(0.1, rel=0.05)


def test_what_is_kept_explains_its_tolerance_and_comes_back() -> None:
    (before,) = kept(*NOISY).values()
    fields = before.to_dict()
    after = Kept.from_dict(fields)
    assert math.isclose(after.noise, before.noise, abs_tol=1e-4)
    assert (after.benchmark, after.better, after.rounds) == ("analysis", "higher", 5)
    assert fields["tolerance"] >= FLOOR
    assert "standard errors" in fields["because"] or "floor" in fields["because"]
