from dataclasses import replace

import numpy as np
import pytest

from ml.judgement import (
    conformal_figures,
    judge,
    selective_figures,
    subgroup_figures,
    triage_figures,
)
from ml.label_table import Case
from ml.labels import CLASS_INDEX, CLASSES
from ml.outcomes import Outcome
from ml.prediction import Prediction
from ml.triage import Triage, Urgency
from tests.bundles import POLICY


def outcome(number, truth, said, *, share=0.9, urgency=Urgency.ROUTINE, also=()):
    """A case named `said` with this share; the rest goes to the other classes alike."""
    rest = (1.0 - share) / 6
    probabilities = {name: share if name == said else rest for name in CLASSES}
    prediction = Prediction(
        probabilities=probabilities,
        members={"basic_cnn": probabilities},
        spread=0.0,
        sets={"0.90": (said,), "0.95": (said, *also)},
    )
    case = Case(f"P{number}", f"L{number}", CLASS_INDEX[truth])
    return Outcome(case, prediction, (), Triage(urgency, ("a reason",)))


def test_triage_counts_every_case_that_is_not_routine():
    outcomes = [
        outcome(0, "mel", "mel", urgency=Urgency.URGENT),
        outcome(1, "mel", "nv"),
        outcome(2, "bcc", "bcc", urgency=Urgency.SUSPICIOUS),
        outcome(3, "nv", "nv"),
        outcome(4, "nv", "mel", urgency=Urgency.SUSPICIOUS),
    ]
    figures = triage_figures(outcomes)
    assert figures["melanoma_sensitivity"]["value"] == 0.5
    assert figures["malignant_sensitivity"]["value"] == pytest.approx(2 / 3)
    assert figures["specificity"]["value"] == 0.5
    assert figures["urgent_malignant_sensitivity"]["value"] == pytest.approx(1 / 3)
    assert set(figures["npv_at_prevalence"]) == {"0.02", "0.07", "0.10"}


def test_conformal_figures_count_true_classes_in_sets():
    outcomes = [
        outcome(0, "mel", "nv", also=("mel",)),
        outcome(1, "nv", "nv"),
        outcome(2, "bkl", "nv"),
    ]
    figures = conformal_figures(outcomes)
    assert figures["0.90"]["coverage"]["value"] == pytest.approx(1 / 3)
    assert figures["0.95"]["coverage"]["value"] == pytest.approx(2 / 3)
    assert figures["0.95"]["by_class"]["mel"]["value"] == 1.0
    assert figures["0.95"]["mean_set_size"] == pytest.approx(4 / 3)
    assert figures["0.95"]["by_size"]["2"]["n"] == 1


def test_abstaining_is_judged_by_the_errors_inside_and_outside():
    outcomes = [outcome(n, "nv", "nv", share=0.999) for n in range(8)]
    outcomes += [outcome(n, "mel", "nv", share=0.5) for n in range(8, 10)]
    figures = selective_figures(outcomes, replace(POLICY, abstain_cost=0.4))
    assert figures["abstained"]["value"] == pytest.approx(0.2)
    assert figures["error_where_abstained"]["value"] == 1.0
    assert figures["error_elsewhere"]["value"] == 0.0
    assert figures["coverage_at_error"]["0.05"] == pytest.approx(0.8)


def test_each_group_has_its_own_figures_and_small_ones_have_none():
    outcomes = [outcome(n, "nv", "nv") for n in range(12)]
    outcomes += [outcome(n, "nv", "bkl") for n in range(12, 36)]
    outcomes += [outcome(36, "mel", "mel", urgency=Urgency.URGENT)]
    attributes = {f"P{n}": {"sex": "female" if n < 12 else "male"} for n in range(37)}
    groups = subgroup_figures(outcomes, attributes)["sex"]
    assert groups["female"]["accuracy"]["value"] == 1.0
    assert groups["male"]["accuracy"]["value"] == pytest.approx(1 / 25)
    assert groups["male"]["accuracy"]["n"] == 25
    assert groups["male"]["melanoma_sensitivity"] is None


def test_the_whole_judgement_has_every_part():
    random = np.random.default_rng(0)
    outcomes = [
        outcome(n, CLASSES[n % 7], CLASSES[random.integers(7)], share=random.uniform(0.3, 0.9))
        for n in range(70)
    ]
    attributes = {f"P{n}": {"sex": "unknown"} for n in range(70)}
    figures = judge(outcomes, POLICY, attributes)
    expected = {"n", "lesions", "ensemble", "members", "triage", "conformal", "selective"}
    assert expected | {"reliability", "quality_flagged", "subgroups"} == set(figures)
    assert figures["ensemble"]["support"] == dict.fromkeys(CLASSES, 10)
    assert np.sum(figures["ensemble"]["confusion"]) == 70
