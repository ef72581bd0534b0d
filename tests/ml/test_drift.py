"""Drift: an injected shift alarms within a stated number of cases, and a control hardly ever."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import stats

from ml.drift import (
    ALPHA,
    REFERENCE_SIZE,
    SMALLEST_WINDOW,
    WINDOW_SIZE,
    Answered,
    Drift,
    Level,
    Side,
    chi_square_tail,
    compare,
    homogeneity_p_value,
    ks_distance,
    ks_p_value,
)
from ml.labels import CLASSES

PREVALENCE = np.array([0.03, 0.05, 0.11, 0.012, 0.11, 0.67, 0.018])
FIELDS = [field.name for field in fields(Answered)]
STEP = 25  # a look at the window after so many new cases


def stream(seed: int, count: int, *, brightness: float = 0.0, site: float = 0.0) -> list[Answered]:
    """Simulated results.

    `brightness` moves the luminance by so many of its standard deviations; a photo far from the
    usual is unlike those of training and answered less surely. `site` is the share of photos from
    another device with another case mix.
    """
    noise = np.random.default_rng(seed)
    foreign = noise.random(count) < site
    light = noise.normal(size=count) + brightness
    strange = 0.5 * np.maximum(0.0, abs(light) - 1.0) + 1.2 * foreign
    confidence = 1.0 - 0.7 / (1.0 + np.exp(1.5 - noise.normal(size=count) - strange))
    mixes = [PREVALENCE / PREVALENCE.sum(), PREVALENCE**0.5 / (PREVALENCE**0.5).sum()]
    classes = np.where(foreign, *(noise.choice(CLASSES, size=count, p=mix) for mix in mixes[::-1]))
    columns = zip(
        classes.tolist(),
        confidence.tolist(),
        (confidence < 0.75).tolist(),
        (noise.normal(size=count) + strange).tolist(),
        (abs(light) > 2.6).tolist(),
        (0.6 + 0.1 * light).tolist(),
        noise.lognormal(-1.0 - 0.6 * foreign, 0.3).tolist(),
        strict=True,
    )
    return [Answered(**dict(zip(FIELDS, values, strict=True))) for values in columns]


REFERENCE = stream(1, REFERENCE_SIZE)


def cases_until(level: Level, shift: dict[str, float], seed: int) -> int | None:
    """After a full quiet window, how many shifted cases pass before this level is reached?"""
    seen, shifted = stream(seed, WINDOW_SIZE), stream(seed + 1000, WINDOW_SIZE, **shift)
    for count in range(STEP, WINDOW_SIZE + 1, STEP):
        window = (seen + shifted[:count])[-WINDOW_SIZE:]
        if compare(REFERENCE, window).level.rank >= level.rank:
            return count
    return None


SHIFTS = {
    "much brighter": {"brightness": 2.0},
    "much darker": {"brightness": -2.0},
    "another site": {"site": 0.8},
}


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS)
def test_an_injected_shift_is_seen_within_150_cases_and_alarms_within_400(
    shift: dict[str, float],
) -> None:
    for seed in range(10, 15):
        seen, alarmed = (cases_until(one, shift, seed) for one in (Level.WATCH, Level.ALARM))
        assert seen is not None
        assert alarmed is not None
        assert (seen <= 150, alarmed <= 400) == (True, True), (seen, alarmed)


def control(seed: int) -> Drift:
    return compare(stream(2 * seed + 5000, REFERENCE_SIZE), stream(2 * seed + 5001, WINDOW_SIZE))


def test_a_control_hardly_ever_alarms() -> None:
    """Looks at independent windows of an unchanged stream: the rates are counted."""
    levels = [control(seed).level for seed in range(100)]

    assert levels.count(Level.ALARM) == 0
    assert levels.count(Level.WATCH) <= 2


@pytest.mark.slow
def test_the_rate_of_false_alarms_stays_below_what_the_documents_say() -> None:
    looks = [control(seed) for seed in range(1000)]
    watches = sum(one.level is not Level.STEADY for one in looks)
    alarms = sum(one.level is Level.ALARM for one in looks)

    assert watches / len(looks) <= len(looks[0].signals) * ALPHA * 2
    assert alarms / len(looks) <= 0.002


def test_photos_that_changed_without_the_answers_are_only_watched() -> None:
    window = [replace(one, sharpness=(one.sharpness or 0.0) * 2) for one in stream(2, WINDOW_SIZE)]
    found = compare(REFERENCE, window)

    assert found.level is Level.WATCH
    assert [one.name for one in found.signals if one.shifted] == ["Sharpness"]


def test_answers_that_changed_with_the_same_photos_are_watched_too() -> None:
    window = [replace(one, confidence=one.confidence * 0.8) for one in stream(3, WINDOW_SIZE)]
    found = compare(REFERENCE, window)

    assert found.level is Level.WATCH
    assert {one.side for one in found.signals if one.shifted} == {Side.ANSWERS}


def test_nothing_is_judged_on_few_results() -> None:
    short_reference = compare(REFERENCE[:-1], stream(2, WINDOW_SIZE))
    short_window = compare(REFERENCE, stream(2, SMALLEST_WINDOW - 1))

    assert short_reference.level is short_window.level is Level.COLLECTING
    assert short_window.window_size == SMALLEST_WINDOW - 1


def test_measures_that_nobody_took_are_left_out() -> None:
    bare = [replace(one, brightness=None) for one in REFERENCE]

    names = {one.name for one in compare(bare, stream(2, WINDOW_SIZE)).signals}

    assert "Brightness" not in names
    assert "Sharpness" in names


def test_every_chart_shows_all_of_both_sides() -> None:
    for signal in compare(REFERENCE, stream(4, WINDOW_SIZE, brightness=3.0)).signals:
        assert sum(bar.reference for bar in signal.bars) == pytest.approx(1.0)
        assert sum(bar.window for bar in signal.bars) == pytest.approx(1.0)
        assert 0.0 <= signal.distance <= 1.0


@pytest.mark.parametrize("seed", range(4))
def test_the_tests_agree_with_scipy(seed: int) -> None:
    noise = np.random.default_rng(seed)
    one, other = sorted(noise.normal(size=500)), sorted(noise.normal(0.15, 1.0, size=400))
    distance = ks_distance(one, other)
    wanted = stats.ks_2samp(one, other, method="asymp")
    assert distance == pytest.approx(wanted.statistic)
    assert ks_p_value(distance, 500, 400) == pytest.approx(wanted.pvalue, rel=0.15)

    counts = noise.integers(20, 90, (2, 7)).tolist()
    table = stats.chi2_contingency(counts, correction=False)
    assert homogeneity_p_value(*counts) == pytest.approx(table.pvalue)


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("statistic", [0.0, 0.4, 5.0, 30.0])
def test_the_tail_of_chi_square_is_exact(statistic: float, freedom: int) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(stats.chi2.sf(statistic, freedom))


def test_rare_classes_are_pooled_and_empty_ones_left_out() -> None:
    assert homogeneity_p_value([500, 0, 0], [500, 0, 0]) == 1.0
    assert homogeneity_p_value([490, 3, 4, 3], [490, 2, 4, 4]) > 0.9
    assert homogeneity_p_value([250, 250], [250, 250]) == 1.0
