"""Make a bundle of trained members: `python -m ml.bundle --runs runs --version 2026.11.1`.

One half of the held-out fold sets temperature, thresholds and the scale of the heat-maps; the other
half is opened once, through the finished bundle, for the figures in its manifest.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file

from ml.arrays import Floats, Pixels
from ml.artifact import (
    LIVE_FILE,
    WEIGHTS,
    Manifest,
    save_manifest,
    save_member,
)
from ml.calibration import (
    apply_temperature,
    choose_policy,
    fit_temperature,
    mean_of_members,
    total_variation_spread,
)
from ml.dataset import Images, held_out_rows, load_images, training_rows
from ml.ensemble import Ensemble
from ml.evaluate import Case, analyse_cases, judge
from ml.folds import DEFAULT_METADATA, Record, read_folds, read_metadata
from ml.gradcam import logits_and_features, raw_cam
from ml.members import MEMBERS, PooledClassifier, build_member, to_channels_last
from ml.model_card import write_model_card
from ml.preprocess import to_input
from ml.quality import QualityThresholds, thresholds_from
from ml.train import (
    DEFAULT_CACHE,
    DEFAULT_IMAGES,
    HELD_OUT_FOLD,
    RUN_FILE,
    WEIGHTS_FILE,
)

_BATCH: Final = 64
_CAM_PERCENT: Final = 90.0
_QUALITY_PHOTOS: Final = 3000
MEMBER_ORDER: Final = ("efficientnet_b0", "inception_v3", "basic_cnn")
DATA: Final = (
    "HAM10000 (Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Scientific Data 5, 180161, "
    "2018, doi 10.1038/sdata.2018.161; data doi 10.7910/DVN/DBW86T), licence CC BY-NC 4.0"
)
HELD_OUT: Final = (
    "every image of the lesions in one half of fold 0 of ml/folds.csv, in its sharpest version; no "
    "image of these lesions was used for training, for stopping, for calibration or for thresholds"
)


@dataclass(frozen=True)
class Held:
    """One half of the held-out fold: every image of its lesions, in its best version."""

    cases: list[Case]
    photos: list[Pixels]


def _half(records: list[Record], images: Images, rows: Sequence[int]) -> Held:
    cases = [
        Case(records[row].image_id, records[row].lesion_id, records[row].label) for row in rows
    ]
    return Held(cases, [images.best(row) for row in rows])


def _served_member(runs: Path, name: str) -> PooledClassifier:
    """Load a trained member with its weights rounded as the bundle keeps them."""
    member = build_member(MEMBERS[name])
    member.load_state_dict(load_file(runs / name / WEIGHTS_FILE))
    return member.half().float().eval()


def _probabilities_and_cam_peak(
    member: PooledClassifier, photos: Sequence[Pixels], name: str
) -> tuple[Floats, float]:
    """Probabilities [n, classes], and the peak of a strong activation map of the top class."""
    to_channels_last(member)
    probabilities, peaks = [], []
    with torch.inference_mode():
        for start in range(0, len(photos), _BATCH):
            inputs = to_input(photos[start : start + _BATCH], MEMBERS[name])
            logits, features = logits_and_features(member, inputs)
            cam = raw_cam(member, features, logits.argmax(dim=1))
            probabilities.append(logits.double().softmax(dim=1).numpy())
            peaks.append(cam.amax(dim=(1, 2)).double().numpy())
    return np.concatenate(probabilities), float(np.percentile(np.concatenate(peaks), _CAM_PERCENT))


def _runs(runs: Path) -> dict[str, Any]:
    return {
        name: json.loads((runs / name / RUN_FILE).read_text(encoding="utf-8"))
        for name in MEMBER_ORDER
    }


def _quality_photos(images: Images, rows: Sequence[int]) -> list[Pixels]:
    """Take every k-th training image, soft and sharp alike."""
    step = max(1, len(rows) // _QUALITY_PHOTOS)
    return [images.best(row) for row in rows[::step]]


def make_bundle(
    folder: Path, *, runs: Path, calibrate: Held, quality: QualityThresholds
) -> Manifest:
    """Write the members and a manifest without figures."""
    members = {name: _served_member(runs, name) for name in MEMBER_ORDER}
    results = {
        name: _probabilities_and_cam_peak(member, calibrate.photos, name)
        for name, member in members.items()
    }
    of_members = np.stack([probabilities for probabilities, _ in results.values()])
    labels = np.array([case.label for case in calibrate.cases])
    mean = mean_of_members(of_members)
    temperature = fit_temperature(mean, labels)
    probabilities = apply_temperature(mean, temperature)
    manifest = Manifest(
        version=folder.name,
        members=tuple(
            save_member(folder, config=MEMBERS[name], member=member, cam_scale=results[name][1])
            for name, member in members.items()
        ),
        temperature=temperature,
        policy=choose_policy(probabilities, total_variation_spread(of_members), labels),
        quality=quality,
        provenance={"data": DATA, "runs": _runs(runs)},
    )
    save_manifest(folder, manifest)
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--version", required=True)
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    options = parser.parse_args()
    folder = WEIGHTS / options.version
    records = read_metadata(options.metadata)
    images = load_images(records, options.images, options.cache)
    places = read_folds()

    quality_rows = training_rows(records, places, held_out=HELD_OUT_FOLD)
    calibrate = held_out_rows(records, places, fold=HELD_OUT_FOLD, half="calibrate")
    manifest = make_bundle(
        folder,
        runs=options.runs,
        calibrate=_half(records, images, calibrate),
        quality=thresholds_from(_quality_photos(images, quality_rows)),
    )
    report_rows = held_out_rows(records, places, fold=HELD_OUT_FOLD, half="report")
    report = _half(records, images, report_rows)
    outcomes = list(analyse_cases(Ensemble.load(folder), report.cases, iter(report.photos)))
    metrics = {"held_out": HELD_OUT, **judge(outcomes)}
    save_manifest(folder, replace(manifest, metrics=metrics))
    (WEIGHTS / LIVE_FILE).write_text(f"{folder.name}\n", encoding="utf-8")
    write_model_card(folder)


if __name__ == "__main__":
    main()
