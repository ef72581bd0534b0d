"""The gate lets a cheaper arithmetic serve only where nothing that counts is lost."""

import numpy as np
import pytest

from ml.engine_gate import Judged, compare, fastest, judged, may_serve
from ml.label_table import Case
from ml.labels import CLASSES
from ml.out_of_fold import Held
from ml.outcomes import Outcome
from ml.prediction import Prediction
from ml.triage import Triage, Urgency
from tools.lesion_drawing import draw_lesion

REFERENCE = Judged(bma=0.800, melanoma_sensitivity=0.95)


@pytest.mark.parametrize(
    ("bma", "sensitivity", "verdict"),
    [
        (0.800, 0.95, True),
        (0.7951, 0.95, True),
        (0.7949, 0.95, False),
        (0.900, 0.949, False),
        (0.800, 0.96, True),
    ],
)
def test_half_a_point_of_accuracy_may_fall_and_no_melanoma_may_be_missed(bma, sensitivity, verdict):
    assert may_serve(Judged(bma=bma, melanoma_sensitivity=sensitivity), REFERENCE) is verdict


def outcome(true, answered, urgency):
    shares = {name: 0.9 if name == answered else 0.1 / (len(CLASSES) - 1) for name in CLASSES}
    prediction = Prediction.of(
        probabilities=shares,
        members={"one": shares},
        named_class=answered,
        sets={},
        outlier_score=0.0,
    )
    return Outcome(Case("I", "L", CLASSES.index(true)), prediction, (), Triage(urgency, ()))


def test_accuracy_is_the_mean_over_classes_and_a_melanoma_is_found_when_it_is_not_routine():
    outcomes = [
        *[outcome(name, name, Urgency.ROUTINE) for name in CLASSES],
        outcome("mel", "nv", Urgency.SUSPICIOUS),
        outcome("nv", "nv", Urgency.URGENT),
    ]
    figures = judged(outcomes)
    assert figures.bma == pytest.approx((len(CLASSES) - 0.5) / len(CLASSES))
    assert figures.melanoma_sensitivity == 0.5


def test_all_arithmetics_judge_the_same_photos(make_bundle, tmp_path):
    photos = [np.asarray(draw_lesion(seed, (80, 60))) for seed in range(len(CLASSES))]
    cases = [Case(f"I{label}", f"L{label}", label) for label in range(len(CLASSES))]
    halves = [{"basic_cnn": "bf16"}, {}]
    verdict = compare(make_bundle(), Held(cases, photos), tmp_path, halves)
    half, same = verdict["candidates"]
    assert verdict["photos"] == len(CLASSES)
    assert 0.0 <= half["largest_shift_of_a_probability"] < 0.1
    assert (same["largest_shift_of_a_probability"], same["other_answers"]) == (0.0, 0)
    assert same["bma"] == verdict["f32"]["bma"]
    assert same["may_serve"]
    assert verdict["serves"]["precisions"] in halves


def candidate(name, milliseconds, *, passed=True):
    return {
        "precisions": {name: "int8"},
        "processor_milliseconds": milliseconds,
        "may_serve": passed,
    }


def test_of_the_candidates_that_pass_the_fastest_serves():
    verdicts = [candidate("a", 20), candidate("b", 10), candidate("c", 5, passed=False)]
    assert fastest(verdicts, single_milliseconds=30) == {"b": "int8"}


def test_single_precision_serves_when_nothing_passes_or_is_faster():
    assert fastest([candidate("a", 5, passed=False)], single_milliseconds=30) == {}
    assert fastest([candidate("a", 31)], single_milliseconds=30) == {}
