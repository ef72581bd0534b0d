"""Every figure of metrics.json, from outcomes of labelled photos: no photo and no torch here."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ml.arrays import Floats, Labels
from ml.conformal import LEVELS
from ml.labels import CLASS_INDEX, CLASSES, MALIGNANT
from ml.metrics import (
    PREVALENCES,
    coverage_at_error,
    negative_predictive_value,
    reliability,
    risk_coverage,
    share_with_interval,
    summarise,
)
from ml.outcomes import Outcome
from ml.triage import Policy, Urgency, expected_cost

Figures = dict[str, Any]
_MALIGNANT: Final = [CLASS_INDEX[name] for name in MALIGNANT]
_ERRORS: Final = (0.05, 0.10)
# A group with fewer photos of a class than this has no figure of its own for that class.
SMALLEST_GROUP: Final = 10


def matrix(rows: Sequence[Mapping[str, float]]) -> Floats:
    """Probabilities by name as an array [n, classes]."""
    return np.array([[row[name] for name in CLASSES] for row in rows])


def labels_of(outcomes: Sequence[Outcome]) -> Labels:
    return np.array([outcome.case.label for outcome in outcomes], dtype=np.int64)


def named_classes(outcomes: Sequence[Outcome]) -> Labels:
    """The class that the ensemble names, as if all were equally common."""
    return np.array([CLASS_INDEX[outcome.prediction.answer] for outcome in outcomes])


def _groups(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.case.group for outcome in outcomes]


def ensemble_matrix(outcomes: Sequence[Outcome]) -> Floats:
    """The ensemble's calibrated probabilities [n, classes]."""
    return matrix([outcome.prediction.probabilities for outcome in outcomes])


def triage_figures(outcomes: Sequence[Outcome]) -> Figures:
    """Found means not routine, by the rule of the live service with the photo alone."""
    labels, groups = labels_of(outcomes), _groups(outcomes)
    found = np.array([outcome.triage.urgency is not Urgency.ROUTINE for outcome in outcomes])
    urgent = np.array([outcome.triage.urgency is Urgency.URGENT for outcome in outcomes])
    malignant = np.isin(labels, _MALIGNANT)
    figures: Figures = {
        "melanoma_sensitivity": share_with_interval(found, labels == CLASS_INDEX["mel"], groups),
        "malignant_sensitivity": share_with_interval(found, malignant, groups),
        "specificity": share_with_interval(~found, ~malignant, groups),
        "urgent_malignant_sensitivity": share_with_interval(urgent, malignant, groups),
        "urgent_specificity": share_with_interval(~urgent, ~malignant, groups),
    }
    sensitivity = figures["malignant_sensitivity"]["value"]
    specificity = figures["specificity"]["value"]
    if sensitivity is not None and specificity is not None:
        figures["npv_at_prevalence"] = {
            f"{prevalence:.2f}": negative_predictive_value(
                sensitivity=sensitivity, specificity=specificity, prevalence=prevalence
            )
            for prevalence in PREVALENCES
        }
    return figures


def conformal_figures(outcomes: Sequence[Outcome]) -> Figures:
    """Coverage and size of the prediction sets of each level, overall, by class and by size."""
    labels, groups = labels_of(outcomes), _groups(outcomes)
    everyone = np.ones(len(outcomes), dtype=bool)
    figures: Figures = {}
    for level in LEVELS:
        sets = [outcome.prediction.sets[level] for outcome in outcomes]
        sizes = np.array([len(names) for names in sets])
        covered = np.array(
            [CLASSES[label] in names for label, names in zip(labels, sets, strict=True)]
        )
        figures[level] = {
            "coverage": share_with_interval(covered, everyone, groups),
            "mean_set_size": float(sizes.mean()),
            "by_class": {
                name: share_with_interval(covered, labels == index, groups)
                for index, name in enumerate(CLASSES)
            },
            "by_size": {
                str(size): share_with_interval(covered, sizes == size, groups)
                for size in np.unique(sizes)
            },
        }
    return figures


def selective_figures(outcomes: Sequence[Outcome], policy: Policy) -> Figures:
    """Of answering only the surest photos, and of the photos on which the ensemble abstains."""
    labels, groups = labels_of(outcomes), _groups(outcomes)
    probabilities = ensemble_matrix(outcomes)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    abstained = np.array(
        [expected_cost(outcome.prediction) > policy.abstain_cost for outcome in outcomes]
    )
    _, errors = risk_coverage(confidence, correct)
    return {
        "coverage_at_error": {
            f"{error:.2f}": coverage_at_error(confidence, correct, error) for error in _ERRORS
        },
        "area_under_risk_coverage": float(errors.mean()),
        "abstained": share_with_interval(abstained, np.ones(len(labels), dtype=bool), groups),
        "error_where_abstained": share_with_interval(~correct, abstained, groups),
        "error_elsewhere": share_with_interval(~correct, ~abstained, groups),
    }


def subgroup_figures(
    outcomes: Sequence[Outcome], attributes: Mapping[str, Mapping[str, str]]
) -> Figures:
    """Figures of each group: attribute -> value -> figures.

    `attributes` names the groups of each photo: image id -> attribute (sex, age, site) -> value.
    """
    figures: Figures = {}
    for name in next(iter(attributes.values())):
        values = [attributes[outcome.case.image_id][name] for outcome in outcomes]
        figures[name] = {
            value: _group_figures(
                [item for item, own in zip(outcomes, values, strict=True) if own == value]
            )
            for value in sorted(set(values))
        }
    return figures


def _group_figures(outcomes: Sequence[Outcome]) -> Figures:
    """Shares with intervals; what rests on fewer than SMALLEST_GROUP photos is None."""
    labels, groups = labels_of(outcomes), _groups(outcomes)
    correct = named_classes(outcomes) == labels
    found = np.array([outcome.triage.urgency is not Urgency.ROUTINE for outcome in outcomes])
    malignant, melanoma = np.isin(labels, _MALIGNANT), labels == CLASS_INDEX["mel"]
    shares = {
        "accuracy": share_with_interval(correct, np.ones(len(labels), dtype=bool), groups),
        "melanoma_recall": share_with_interval(correct, melanoma, groups),
        "melanoma_sensitivity": share_with_interval(found, melanoma, groups),
        "malignant_sensitivity": share_with_interval(found, malignant, groups),
        "specificity": share_with_interval(~found, ~malignant, groups),
    }
    return {name: share if share["n"] >= SMALLEST_GROUP else None for name, share in shares.items()}


def judge(
    outcomes: Sequence[Outcome],
    policy: Policy,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> Figures:
    """All figures of metrics.json."""
    labels, groups = labels_of(outcomes), _groups(outcomes)
    probabilities = ensemble_matrix(outcomes)
    names = list(outcomes[0].prediction.members)
    figures: Figures = {
        "n": len(outcomes),
        "lesions": len(set(groups)),
        "ensemble": summarise(probabilities, labels, groups, named=named_classes(outcomes)),
        "members": {
            name: summarise(
                matrix([outcome.prediction.members[name] for outcome in outcomes]), labels, groups
            )
            for name in names
        },
        "triage": triage_figures(outcomes),
        "conformal": conformal_figures(outcomes),
        "selective": selective_figures(outcomes, policy),
        "reliability": reliability(probabilities, labels),
        "quality_flagged": share_with_interval(
            np.array([bool(outcome.quality_flags) for outcome in outcomes]),
            np.ones(len(labels), dtype=bool),
            groups,
        ),
    }
    if attributes:
        figures["subgroups"] = subgroup_figures(outcomes, attributes)
    return figures
