"""What a finished bundle measures: the figures of its manifest and so of its model card."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from ml.artifact import Manifest
from ml.combine import combine
from ml.ensemble import Ensemble
from ml.judgement import judge
from ml.non_skin import non_skin_figures, non_skin_pictures
from ml.out_of_fold import Held, OutOfFold
from ml.outcomes import Outcome, analyse_cases, outcome_of
from ml.quality import assess_quality
from ml.subgroups import read_subgroups

HELD_OUT: Final = (
    "every image of the lesions in one half of fold 0 of ml/folds.csv, in its sharpest version; no "
    "image of these lesions was used for training, for stopping, for calibration or for thresholds"
)


def measure_bundle(
    folder: Path, report: Held, metadata: Path, out_of_fold: OutOfFold
) -> dict[str, Any]:
    """Every figure of the manifest, through the bundle as it serves."""
    ensemble = Ensemble.load(folder)
    attributes = read_subgroups(metadata)
    outcomes = list(analyse_cases(ensemble, report.cases, report.photos))
    figures = {
        "held_out": HELD_OUT,
        **judge(outcomes, ensemble.policy, attributes),
        "non_skin": _non_skin(ensemble, outcomes),
    }
    if out_of_fold.held.cases:
        others = _outcomes_of(out_of_fold, ensemble.manifest)
        figures["out_of_fold"] = judge([*outcomes, *others], ensemble.policy, attributes)
    return figures


def _non_skin(ensemble: Ensemble, real: list[Outcome]) -> dict[str, Any]:
    scores = {
        kind: {
            name: analysis.prediction.outlier_score
            for name, analysis in zip(
                pictures, ensemble.analyse(list(pictures.values())), strict=True
            )
        }
        for kind, pictures in non_skin_pictures().items()
    }
    of_real = np.array([outcome.prediction.outlier_score for outcome in real])
    return non_skin_figures(scores, of_real, ensemble.policy)


def _outcomes_of(out_of_fold: OutOfFold, manifest: Manifest) -> list[Outcome]:
    """What the rule says of photos that the members of other folds answered."""
    held = out_of_fold.held
    predictions = combine(out_of_fold.answers, np.zeros(len(held.cases)), manifest.rule)
    return [
        outcome_of(case, prediction, assess_quality(photo, manifest.quality).flags, manifest.policy)
        for case, photo, prediction in zip(held.cases, held.photos, predictions, strict=True)
    ]
