"""Make a candidate bundle of trained members: `python -m ml.bundle --runs runs --version V`.

One half of the held-out fold sets temperature, sets, thresholds and the scale of the heat-maps; the
other half is opened once, through the finished bundle, for the figures in its manifest. Where a run
trained all five folds, their out-of-fold predictions join in both. `python -m ml.promote V` puts
the candidate in service.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file

from ml.architecture import size_of
from ml.arrays import Floats, Labels, Pixels
from ml.artifact import WEIGHTS, Manifest, save_manifest, save_member, save_outlier
from ml.calibration import (
    apply_temperature,
    choose_doubts,
    choose_operating_point,
    fit_temperature,
    mean_of_members,
)
from ml.conformal import Conformal, fit_conformal
from ml.dataset import Images, held_out_rows, load_images, training_rows
from ml.ensemble import Ensemble
from ml.folds import DEFAULT_METADATA, Record, read_folds, read_metadata
from ml.forward import Members
from ml.gradcam import raw_cam
from ml.judgement import judge
from ml.label_table import Case
from ml.labels import CLASSES
from ml.members import MEMBERS, MemberConfig, PooledClassifier, build_member
from ml.metrics import balanced_accuracy
from ml.model_card import write_model_card
from ml.non_skin import non_skin_figures, non_skin_pictures
from ml.outcomes import analyse_cases
from ml.outlier import OutlierDetector
from ml.prediction import Prediction
from ml.quality import assess_quality, thresholds_from
from ml.subgroups import read_subgroups
from ml.train import DEFAULT_CACHE, DEFAULT_IMAGES, HELD_OUT_FOLD, RUN_FILE, WEIGHTS_FILE

_BATCH: Final = 64
_CAM_PERCENT: Final = 90.0
_TYPICAL_PHOTOS: Final = 2000
# The basic CNN is much weaker: half a vote. `provenance.votes` compares with equal ones.
VOTES: Final = {"efficientnet_b0": 1.0, "inception_v3": 1.0, "basic_cnn": 0.5}
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
    """Some photos that no member learned, in their best version."""

    cases: list[Case]
    photos: list[Pixels]

    @property
    def labels(self) -> Labels:
        return np.array([case.label for case in self.cases], dtype=np.int64)


@dataclass(frozen=True)
class Answers:
    """Uncalibrated probabilities [members, n, classes], pooled features [n, channels], CAM peaks.

    A member's peak is that of a strong activation map of its top class.
    """

    probabilities: Floats
    pooled: Floats
    peaks: list[float]


def answers_of(members: Members, photos: Sequence[Pixels]) -> Answers:
    """Pass photos through the members, a batch at a time."""
    probabilities, pooled = [], []
    peaks: list[list[Floats]] = [[] for _ in members.networks]
    for start in range(0, len(photos), _BATCH):
        answer = members.forward(photos[start : start + _BATCH])
        probabilities.append(answer.probabilities)
        pooled.append(answer.pooled)
        for own, network, features, classes in zip(
            peaks, members.networks, answer.features, answer.probabilities, strict=True
        ):
            with torch.inference_mode():
                cam = raw_cam(network, features, torch.from_numpy(classes.argmax(axis=1)))
                own.append(cam.amax(dim=(1, 2)).double().numpy())
    return Answers(
        np.concatenate(probabilities, axis=1),
        np.concatenate(pooled),
        [float(np.percentile(np.concatenate(own), _CAM_PERCENT)) for own in peaks],
    )


def run_folder(runs: Path, name: str, fold: int = HELD_OUT_FOLD) -> Path:
    """Where the run of a member for a fold lies: a folder of its own, if there are several."""
    of_fold = runs / name / f"fold{fold}"
    return of_fold if of_fold.is_dir() else runs / name


def _read_run(folder: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    return run


def _config(run: dict[str, Any], name: str) -> MemberConfig:
    if "config" not in run:
        return MEMBERS[name]
    values = run["config"]
    return MemberConfig(
        **{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])},
    )


def _served_member(folder: Path, config: MemberConfig) -> PooledClassifier:
    """Load a trained member with its weights rounded as the bundle keeps them."""
    member = build_member(config)
    member.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return member.half().float().eval()


def _predictions(
    probabilities: Floats, members: Floats, conformal: Conformal, outlier: Floats
) -> list[Prediction]:
    names = list(VOTES)
    found = []
    for index in range(len(probabilities)):
        by_class = dict(zip(CLASSES, map(float, probabilities[index]), strict=True))
        of_members = {
            name: dict(zip(CLASSES, map(float, members[place, index]), strict=True))
            for place, name in enumerate(names)
        }
        found.append(
            Prediction.of(
                probabilities=by_class,
                members=of_members,
                sets=conformal.sets(by_class),
                outlier_score=float(outlier[index]),
            )
        )
    return found


def make_bundle(
    folder: Path, *, runs: Path, calibrate: Held, typical: Sequence[Pixels]
) -> Manifest:
    """Write the members, the outlier statistics and a manifest without figures.

    `typical` are photos of training, for what is usual in features and in image quality.
    """
    read = {name: _read_run(run_folder(runs, name)) for name in VOTES}
    configs = {name: _config(run, name) for name, run in read.items()}
    trained = {
        name: _served_member(run_folder(runs, name), config) for name, config in configs.items()
    }
    entries = {
        name: save_member(
            folder, config=configs[name], member=member, vote=VOTES[name], cam_scale=1.0
        )
        for name, member in trained.items()
    }
    members = Members(trained, list(configs.values()))
    answers = answers_of(members, calibrate.photos)
    outlier = OutlierDetector.fit(
        pooled=answers_of(members, typical).pooled,
        photos=typical,
        held_out_pooled=answers.pooled,
        held_out_photos=calibrate.photos,
    )
    mean = mean_of_members(answers.probabilities, np.array(list(VOTES.values())))
    temperature = fit_temperature(mean, calibrate.labels)
    probabilities = apply_temperature(mean, temperature)
    conformal = fit_conformal(probabilities, calibrate.labels)
    scores = outlier.scores(answers.pooled, calibrate.photos)
    predictions = _predictions(probabilities, answers.probabilities, conformal, scores)
    quality = thresholds_from(typical)
    flags = [assess_quality(photo, quality).flags for photo in calibrate.photos]
    doubts = choose_doubts(predictions)
    manifest = Manifest(
        version=folder.name,
        members=tuple(
            replace(entry, cam_scale=peak)
            for entry, peak in zip(entries.values(), answers.peaks, strict=True)
        ),
        outlier_sha256=save_outlier(folder, outlier),
        temperature=temperature,
        conformal=conformal,
        policy=choose_operating_point(doubts, predictions, flags, calibrate.labels),
        quality=quality,
        provenance={
            "data": DATA,
            "runs": read,
            "sizes": {name: size_of(config) for name, config in configs.items()},
            "votes": _compare_votes(answers.probabilities, calibrate.labels),
        },
    )
    save_manifest(folder, manifest)
    return manifest


def _compare_votes(probabilities: Floats, labels: Labels) -> dict[str, float]:
    """BMA on the calibrating half with the fixed votes and with equal ones."""
    equal = np.ones(len(probabilities))
    return {
        "calibrate_bma_equal_votes": balanced_accuracy(
            mean_of_members(probabilities, equal), labels
        ),
        "calibrate_bma_fixed_votes": balanced_accuracy(
            mean_of_members(probabilities, np.array(list(VOTES.values()))), labels
        ),
    }


def _half(records: list[Record], images: Images, rows: Iterable[int]) -> Held:
    chosen = list(rows)
    cases = [
        Case(records[row].image_id, records[row].lesion_id, records[row].label) for row in chosen
    ]
    return Held(cases, [images.best(row) for row in chosen])


def _typical(images: Images, rows: Sequence[int]) -> list[Pixels]:
    """Take every k-th training image, soft and sharp alike."""
    step = max(1, len(rows) // _TYPICAL_PHOTOS)
    return [images.best(row) for row in rows[::step]]


def measure_bundle(folder: Path, report: Held, metadata: Path) -> dict[str, Any]:
    """Every figure of the manifest, through the bundle as it serves."""
    ensemble = Ensemble.load(folder)
    outcomes = list(analyse_cases(ensemble, report.cases, report.photos))
    real = np.array([outcome.prediction.outlier_score for outcome in outcomes])
    strange = {
        kind: {
            name: analysis.prediction.outlier_score
            for name, analysis in zip(
                pictures, ensemble.analyse(list(pictures.values())), strict=True
            )
        }
        for kind, pictures in non_skin_pictures().items()
    }
    return {
        "held_out": HELD_OUT,
        **judge(outcomes, ensemble.policy, read_subgroups(metadata)),
        "non_skin": non_skin_figures(strange, real, ensemble.policy),
    }


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
    training = training_rows(records, places, held_out=HELD_OUT_FOLD)
    calibrate = held_out_rows(records, places, fold=HELD_OUT_FOLD, half="calibrate")
    manifest = make_bundle(
        folder,
        runs=options.runs,
        calibrate=_half(records, images, calibrate),
        typical=_typical(images, training),
    )
    report = held_out_rows(records, places, fold=HELD_OUT_FOLD, half="report")
    metrics = measure_bundle(folder, _half(records, images, report), options.metadata)
    save_manifest(folder, replace(manifest, metrics=metrics))
    write_model_card(folder)


if __name__ == "__main__":
    main()
