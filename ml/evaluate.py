"""Judge a bundle on labelled photos: `python -m ml.evaluate --images PATH --labels CSV --out DIR`.

PATH is a folder or a zip file. CSV is the one-hot table of the ISIC challenge (image, MEL, NV, ...)
or has the columns image_id and dx. Writes metrics.json and predictions.csv to DIR.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ml.arrays import Floats, Labels, Pixels
from ml.artifact import BundleError, live_bundle
from ml.ensemble import Analysis, Ensemble
from ml.folds import LabelDataError
from ml.image_source import ImageDataError, ImageFile, decode, find_images
from ml.labels import CLASS_INDEX, CLASSES, MALIGNANT
from ml.metrics import (
    PREVALENCES,
    negative_predictive_value,
    share_with_interval,
    summarise,
)
from ml.triage import Policy, Triage, Urgency, triage

_CHUNK: Final = 32


@dataclass(frozen=True)
class Case:
    """One labelled photo; photos of one `group` (lesion) are not independent."""

    image_id: str
    group: str
    label: int


@dataclass(frozen=True)
class Outcome:
    """What the live service would have said about a case (its heat-map is not kept)."""

    case: Case
    probabilities: dict[str, float]
    members: dict[str, dict[str, float]]
    triage: Triage


def _label_of(row: dict[str, str], name: str) -> str:
    """Diagnosis of one row; LabelDataError names a photo without exactly one known diagnosis."""
    if "dx" in row:
        label = row["dx"].strip().lower()
        if label not in CLASS_INDEX:
            raise LabelDataError(f"{name}: the diagnosis {row['dx']!r} is not one of {CLASSES}")
        return label
    marked = [name for name in CLASSES if float(row[name.upper()] or 0.0) > 0.5]
    if len(marked) != 1:
        raise LabelDataError(f"{name}: its row marks {len(marked)} classes instead of one")
    return marked[0]


def read_labels(path: Path) -> list[Case]:
    """Cases of either kind of table; without a column lesion_id every photo is its own group."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise LabelDataError(f"{path} has no rows")
    columns = set(rows[0])
    one_hot = {"image", *(name.upper() for name in CLASSES)}
    if not ({"image_id", "dx"} <= columns or one_hot <= columns):
        raise LabelDataError(
            f"{path} needs the columns image_id, dx or {', '.join(sorted(one_hot))}"
        )
    cases = []
    for row in rows:
        name = row["image_id"] if "dx" in columns else row["image"]
        cases.append(Case(name, row.get("lesion_id") or name, CLASS_INDEX[_label_of(row, name)]))
    return cases


def _read_photo(files: Sequence[ImageFile], image_id: str) -> Pixels:
    """Decode the largest version of an image."""
    try:
        return max((decode(file.read()) for file in files), key=lambda pixels: pixels.size)
    except ImageDataError as error:
        raise ImageDataError(f"{image_id} cannot be read: {error}") from error


def analyse_cases(
    ensemble: Ensemble, cases: Sequence[Case], photos: Iterator[Pixels]
) -> Iterator[Outcome]:
    """Outcomes of cases with their photos, some at a time; tells on stderr how far it is."""
    for start in range(0, len(cases), _CHUNK):
        chunk = cases[start : start + _CHUNK]
        analyses = ensemble.analyse([next(photos) for _ in chunk])
        for case, analysis in zip(chunk, analyses, strict=True):
            yield _outcome(case, analysis, ensemble.policy)
        print(f"\r{start + len(chunk)}/{len(cases)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _outcome(case: Case, analysis: Analysis, policy: Policy) -> Outcome:
    prediction = analysis.prediction
    decided = triage(prediction, policy, quality_flags=analysis.quality.flags)
    return Outcome(case, prediction.probabilities, prediction.members, decided)


def _triage_figures(
    outcomes: Sequence[Outcome], labels: Labels, groups: list[str]
) -> dict[str, Any]:
    """Found means not routine, by the rule of the live service with the photo alone."""
    found = np.array([outcome.triage.urgency is not Urgency.ROUTINE for outcome in outcomes])
    urgent = np.array([outcome.triage.urgency is Urgency.URGENT for outcome in outcomes])
    malignant = np.isin(labels, [CLASS_INDEX[name] for name in MALIGNANT])
    melanoma = labels == CLASS_INDEX["mel"]
    figures: dict[str, Any] = {
        "melanoma_sensitivity": share_with_interval(found, melanoma, groups),
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


def _matrix(rows: Sequence[dict[str, float]]) -> Floats:
    return np.array([[row[name] for name in CLASSES] for row in rows])


def judge(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All figures of metrics.json."""
    labels: Labels = np.array([outcome.case.label for outcome in outcomes])
    groups = [outcome.case.group for outcome in outcomes]
    names = list(outcomes[0].members)
    return {
        "n": len(outcomes),
        "lesions": len(set(groups)),
        "ensemble": summarise(_matrix([each.probabilities for each in outcomes]), labels, groups),
        "members": {
            name: summarise(_matrix([each.members[name] for each in outcomes]), labels, groups)
            for name in names
        },
        "triage": _triage_figures(outcomes, labels, groups),
    }


def _write_predictions(path: Path, outcomes: Sequence[Outcome]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image_id", "dx", "predicted", *CLASSES, "urgency"))
        for outcome in outcomes:
            likeliest = max(CLASSES, key=lambda name: outcome.probabilities[name])
            writer.writerow(
                (
                    outcome.case.image_id,
                    CLASSES[outcome.case.label],
                    likeliest,
                    *(f"{outcome.probabilities[name]:.6f}" for name in CLASSES),
                    outcome.triage.urgency,
                )
            )


def evaluate(*, bundle: Path, images: Path, labels: Path, out: Path) -> dict[str, Any]:
    """Judge a bundle and write the two files; missing photos are named before anything runs."""
    cases = read_labels(labels)
    found = find_images(images)
    missing = [case.image_id for case in cases if case.image_id not in found]
    if missing:
        raise ImageDataError(f"{len(missing)} images are missing: {', '.join(missing[:20])}")
    ensemble = Ensemble.load(bundle)
    photos = (_read_photo(found[case.image_id], case.image_id) for case in cases)
    outcomes = list(analyse_cases(ensemble, cases, photos))
    metrics = {"bundle": ensemble.manifest.version, "fingerprint": ensemble.fingerprint,
               **judge(outcomes)}  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    _write_predictions(out / "predictions.csv", outcomes)
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    options = parser.parse_args()
    try:
        metrics = evaluate(
            bundle=options.bundle or live_bundle(),
            images=options.images,
            labels=options.labels,
            out=options.out,
        )
    except (BundleError, ImageDataError, LabelDataError, OSError) as error:
        sys.exit(f"ml.evaluate: {error}")
    ensemble = metrics["ensemble"]
    low, high = ensemble["bma_interval"]
    print(f"BMA {ensemble['bma']:.3f} ({low:.3f} to {high:.3f}) on {metrics['n']} photos")


if __name__ == "__main__":
    main()
