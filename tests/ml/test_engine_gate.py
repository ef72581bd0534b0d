"""The gate lets a cheaper arithmetic serve only where nothing that counts is lost."""

import numpy as np
import pytest

from ml.engine_gate import Judged, compare, judged, may_serve
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


def test_both_arithmetics_judge_the_same_photos(make_bundle):
    photos = [np.asarray(draw_lesion(seed, (80, 60))) for seed in range(len(CLASSES))]
    cases = [Case(f"I{label}", f"L{label}", label) for label in range(len(CLASSES))]
    verdict = compare(make_bundle(), Held(cases, photos))
    assert verdict["photos"] == len(CLASSES)
    assert 0.0 <= verdict["largest_shift_of_a_probability"] < 0.1
    assert set(verdict["f32"]) == set(verdict["bf16"]) == {"bma", "melanoma_sensitivity"}
