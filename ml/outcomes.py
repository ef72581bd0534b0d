"""What the live service would have said about labelled photos."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ml.arrays import Pixels
from ml.ensemble import Ensemble
from ml.label_table import Case
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.triage import Policy, Triage, triage

_CHUNK = 32


@dataclass(frozen=True)
class Outcome:
    """The answer to one case; its heat-map is not kept."""

    case: Case
    prediction: Prediction
    quality_flags: tuple[QualityFlag, ...]
    triage: Triage


def outcome_of(
    case: Case, prediction: Prediction, flags: tuple[QualityFlag, ...], policy: Policy
) -> Outcome:
    """Judge one answered photo by the rule of the live service, with the photo alone."""
    return Outcome(case, prediction, flags, triage(prediction, policy, quality_flags=flags))


def analyse_cases(
    ensemble: Ensemble, cases: Sequence[Case], photos: Iterable[Pixels], *, views: int = 1
) -> Iterator[Outcome]:
    """Outcomes of cases with their photos, some at a time; tells on stderr how far it is."""
    coming = iter(photos)
    for start in range(0, len(cases), _CHUNK):
        chunk = cases[start : start + _CHUNK]
        analyses = ensemble.analyse([next(coming) for _ in chunk], views=views)
        for case, analysis in zip(chunk, analyses, strict=True):
            yield outcome_of(case, analysis.prediction, analysis.quality.flags, ensemble.policy)
        print(f"\r{start + len(chunk)}/{len(cases)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
