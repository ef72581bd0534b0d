"""Judge a bundle on labelled photos: `python -m ml.evaluate --images PATH --labels CSV --out DIR`.

PATH is a folder or a zip file. CSV is the one-hot table of the ISIC challenge (image, MEL, NV, ...)
or has the columns image_id and dx. Writes metrics.json, predictions.csv and pictures to DIR.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml.arrays import Pixels
from ml.artifact import BundleError, live_bundle
from ml.conformal import LEVELS
from ml.ensemble import Ensemble
from ml.folds import LabelDataError
from ml.image_source import ImageDataError, ImageFile, decode, find_images
from ml.judgement import ensemble_matrix, judge, labels_of, named_classes
from ml.label_table import read_labels
from ml.labels import CLASSES
from ml.outcomes import Outcome, analyse_cases
from ml.plots import evaluation_pictures, training_pictures
from ml.subgroups import COLUMNS, read_subgroups
from ml.views import VIEWS


def _read_photo(files: Sequence[ImageFile], image_id: str) -> Pixels:
    """Decode the largest version of an image."""
    try:
        return max((decode(file.read()) for file in files), key=lambda pixels: pixels.size)
    except ImageDataError as error:
        raise ImageDataError(f"{image_id} cannot be read: {error}") from error


def _write_predictions(path: Path, outcomes: Sequence[Outcome]) -> None:
    columns = ("image_id", "dx", "predicted", "likeliest", *CLASSES, "urgency", "outlier_score")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*columns, *(f"set_{level}" for level in LEVELS), "reasons"))
        for outcome in outcomes:
            prediction = outcome.prediction
            writer.writerow(
                (
                    outcome.case.image_id,
                    CLASSES[outcome.case.label],
                    prediction.answer,
                    prediction.top_class,
                    *(f"{prediction.probabilities[name]:.6f}" for name in CLASSES),
                    outcome.triage.urgency,
                    f"{prediction.outlier_score:.3f}",
                    *(" ".join(prediction.sets[level]) for level in LEVELS),
                    " ".join(outcome.triage.reasons),
                )
            )


def evaluate(
    *, bundle: Path, images: Path, labels: Path, out: Path, views: int = 1
) -> dict[str, Any]:
    """Judge a bundle and write all files; missing photos are named before anything runs."""
    cases = read_labels(labels)
    found = find_images(images)
    missing = [case.image_id for case in cases if case.image_id not in found]
    if missing:
        raise ImageDataError(f"{len(missing)} images are missing: {', '.join(missing[:20])}")
    ensemble = Ensemble.load(bundle)
    photos = (_read_photo(found[case.image_id], case.image_id) for case in cases)
    outcomes = list(analyse_cases(ensemble, cases, photos, views=views))
    metrics = {
        "bundle": ensemble.manifest.version,
        "fingerprint": ensemble.fingerprint,
        "views": views,
        **judge(outcomes, ensemble.policy, _attributes(labels)),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    _write_predictions(out / "predictions.csv", outcomes)
    evaluation_pictures(
        out, ensemble_matrix(outcomes), labels_of(outcomes), named=named_classes(outcomes)
    )
    training_pictures(out, ensemble.manifest.provenance.get("runs", {}))
    return metrics


def _attributes(labels: Path) -> dict[str, dict[str, str]] | None:
    """Sex, age and body site of each photo, where the table of labels has them."""
    with labels.open(newline="", encoding="utf-8-sig") as file:
        columns = next(csv.reader(file))
    return read_subgroups(labels) if set(columns) >= COLUMNS else None


def _views(text: str) -> int:
    number = int(text)
    if not 1 <= number <= VIEWS:
        raise argparse.ArgumentTypeError(f"1 to {VIEWS}, not {text}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    parser.add_argument("--tta", type=_views, default=1, metavar="K", help="average over K views")
    options = parser.parse_args()
    try:
        metrics = evaluate(
            bundle=options.bundle or live_bundle(),
            images=options.images,
            labels=options.labels,
            out=options.out,
            views=options.tta,
        )
    except (BundleError, ImageDataError, LabelDataError, OSError) as error:
        sys.exit(f"ml.evaluate: {error}")
    ensemble = metrics["ensemble"]
    low, high = ensemble["bma_interval"]
    print(f"BMA {ensemble['bma']:.3f} ({low:.3f} to {high:.3f}) on {metrics['n']} photos")


if __name__ == "__main__":
    main()
