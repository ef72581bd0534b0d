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
from typing import Any, Final, get_args

import numpy as np
from safetensors.torch import load_file

from ml.architecture import size_of
from ml.arrays import Floats, Labels, Pixels
from ml.artifact import (
    WEIGHTS,
    Manifest,
    load_bundle,
    save_manifest,
    save_member,
    save_outlier,
)
from ml.bundle_figures import measure_bundle
from ml.calibration import (
    choose_doubts,
    choose_operating_point,
    fit_prevalence_and_temperature,
    prevalence_of,
)
from ml.combine import Rule, by_class, combine
from ml.conformal import Conformal, fit_conformal
from ml.dataset import Images, held_out_rows, load_images, training_rows
from ml.engine_eager import EagerEngine
from ml.ensemble import Ensemble
from ml.explain import load_held_out, measure_explanations
from ml.folds import DEFAULT_METADATA, Half, read_folds, read_metadata
from ml.forward import Members
from ml.imbalance import IMBALANCE, prevalence_left
from ml.members import MEMBERS, MemberConfig, PooledClassifier, build_member
from ml.metrics import balanced_accuracy
from ml.model_card import write_model_card
from ml.out_of_fold import Held, OutOfFold, read_out_of_fold, run_folder
from ml.outlier import appearances_of
from ml.outlier_fit import fit_outlier_detector
from ml.quality import assess_quality, thresholds_from
from ml.temperature import mean_of_members
from ml.train import DEFAULT_CACHE, DEFAULT_IMAGES, HELD_OUT_FOLD, RUN_FILE, WEIGHTS_FILE

_BATCH: Final = 64
_CAM_PERCENT: Final = 90.0
_TYPICAL_PHOTOS: Final = 2000
EXPLAINED_PHOTOS: Final = 400
DEFAULT_MASKS: Final = DEFAULT_IMAGES / "masks_200x150.zip"
# The basic CNN is much weaker: half a vote. `provenance.votes` compares with equal ones.
VOTES: Final = {"efficientnet_b0": 1.0, "inception_v3": 1.0, "basic_cnn": 0.5}
DATA: Final = (
    "HAM10000 (Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Scientific Data 5, 180161, "
    "2018, doi 10.1038/sdata.2018.161; data doi 10.7910/DVN/DBW86T), licence CC BY-NC 4.0"
)


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
    peaks: list[list[Floats]] = [[] for _ in VOTES]
    for start in range(0, len(photos), _BATCH):
        answer = members.forward(photos[start : start + _BATCH])
        probabilities.append(answer.probabilities)
        pooled.append(answer.pooled)
        for own, maps, shares in zip(peaks, answer.class_maps, answer.probabilities, strict=True):
            top = maps[np.arange(len(maps)), shares.argmax(axis=1)]
            own.append(top.max(axis=(1, 2)).astype(np.float64))
    return Answers(
        np.concatenate(probabilities, axis=1),
        np.concatenate(pooled),
        [float(np.percentile(np.concatenate(own), _CAM_PERCENT)) for own in peaks],
    )


@dataclass(frozen=True)
class TrainedMember:
    """A member with its weights rounded as the bundle keeps them, and the record of its run."""

    config: MemberConfig
    network: PooledClassifier
    run: dict[str, Any]


def read_trained(folder: Path, name: str) -> TrainedMember:
    """Read what a run left; its own record says at which input size it was trained."""
    run: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    config = MEMBERS[name]
    if "config" in run:
        values = run["config"]
        config = MemberConfig(
            **{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])}
        )
    network = build_member(config)
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return TrainedMember(config, network.half().float().eval(), run)


def make_bundle(
    folder: Path,
    *,
    runs: Path,
    calibrate: Held,
    typical: Sequence[Pixels],
    out_of_fold: OutOfFold,
) -> Manifest:
    """Write the members, the outlier statistics and a manifest without figures.

    `typical` are photos of training, for what is usual in features and in image quality.
    Temperature, sets and the operating point rest on `calibrate` and `out_of_fold` together, the
    marks of doubt on `calibrate` alone, which the members of the bundle answered themselves.
    """
    trained = {name: read_trained(run_folder(runs, name), name) for name in VOTES}
    entries = [
        save_member(folder, config=each.config, member=each.network, vote=VOTES[name])
        for name, each in trained.items()
    ]
    configs = [each.config for each in trained.values()]
    engine = EagerEngine.of([each.network for each in trained.values()], configs)
    members = Members(engine, configs)
    own = answers_of(members, calibrate.photos)
    outlier = fit_outlier_detector(
        pooled=answers_of(members, typical).pooled,
        photos=typical,
        held_out_pooled=own.pooled,
        held_out_photos=calibrate.photos,
    )
    answers = np.concatenate([own.probabilities, out_of_fold.answers], axis=1)
    labels = np.concatenate([calibrate.labels, out_of_fold.held.labels])
    named_power = named_power_of(each.run for each in trained.values())
    rule = fit_rule(answers, labels, named_power=named_power)
    scores = outlier.scores(own.pooled, appearances_of(calibrate.photos))
    scored = np.concatenate([scores, np.zeros(len(labels) - len(scores))])
    predictions = combine(answers, scored, rule)
    quality = thresholds_from(typical)
    photos = [*calibrate.photos, *out_of_fold.held.photos]
    flags = [assess_quality(photo, quality).flags for photo in photos]
    doubts = choose_doubts(predictions[: len(scores)])
    manifest = Manifest(
        version=folder.name,
        members=tuple(
            replace(entry, cam_scale=peak) for entry, peak in zip(entries, own.peaks, strict=True)
        ),
        outlier_sha256=save_outlier(folder, outlier),
        prevalence=dict(rule.prevalence),
        prevalence_power=rule.prevalence_power,
        named_power=rule.named_power,
        temperature=rule.temperature,
        conformal=rule.conformal,
        policy=choose_operating_point(doubts, predictions, flags, labels),
        quality=quality,
        provenance={
            "data": DATA,
            "runs": {name: each.run for name, each in trained.items()},
            "sizes": {name: size_of(each.config) for name, each in trained.items()},
            "votes": _compare_votes(answers, labels),
        },
    )
    save_manifest(folder, manifest)
    return manifest


def named_power_of(runs: Iterable[dict[str, Any]]) -> float:
    """Power that takes out of the mean what training left of the prevalence."""
    ways = [run.get("provenance", {}).get("recipe", {}).get("imbalance") for run in runs]
    # Runs of the first program had no name for their way; it was this one.
    left = [prevalence_left(IMBALANCE[way or "soft_sampling"]) for way in ways]
    return -float(np.average(left, weights=list(VOTES.values())))


def fit_rule(answers: Floats, labels: Labels, *, named_power: float) -> Rule:
    """Fit prevalence, temperature and sets on answers [members, n, classes] of unseen photos."""
    mean = mean_of_members(answers, np.array(list(VOTES.values())))
    power, temperature = fit_prevalence_and_temperature(mean, labels)
    rule = Rule(
        votes=VOTES,
        prevalence=by_class(prevalence_of(labels)),
        prevalence_power=power,
        named_power=named_power,
        temperature=temperature,
        conformal=Conformal({}),
    )
    return replace(rule, conformal=fit_conformal(rule.calibrated(mean), labels))


def _compare_votes(answers: Floats, labels: Labels) -> dict[str, float]:
    """BMA on the calibrating photos with the fixed votes and with equal ones."""
    fixed, equal = np.array(list(VOTES.values())), np.ones(len(VOTES))
    return {
        "calibrate_bma_fixed_votes": balanced_accuracy(mean_of_members(answers, fixed), labels),
        "calibrate_bma_equal_votes": balanced_accuracy(mean_of_members(answers, equal), labels),
    }


def _typical(images: Images, rows: Sequence[int]) -> list[Pixels]:
    """Take every k-th training image, soft and sharp alike."""
    step = max(1, len(rows) // _TYPICAL_PHOTOS)
    return [images.best(row) for row in rows[::step]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--version", required=True)
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--masks", type=Path, default=DEFAULT_MASKS, help="masks of the lesions")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    options = parser.parse_args()
    folder = WEIGHTS / options.version
    records = read_metadata(options.metadata)
    images = load_images(records, options.images, options.cache)
    places = read_folds()
    halves, others = {}, {}
    for half in get_args(Half):
        rows = held_out_rows(records, places, fold=HELD_OUT_FOLD, half=half)
        halves[half] = Held.of(records, images, rows)
        others[half] = read_out_of_fold(
            options.runs, list(VOTES), records=records, images=images, places=places, half=half
        )
    manifest = make_bundle(
        folder,
        runs=options.runs,
        calibrate=halves["calibrate"],
        typical=_typical(images, training_rows(records, places, held_out=HELD_OUT_FOLD)),
        out_of_fold=others["calibrate"],
    )
    metrics = measure_bundle(folder, halves["report"], options.metadata, others["report"])
    if options.masks.exists():
        held = load_held_out(images=options.images, masks=options.masks, limit=EXPLAINED_PHOTOS)
        ensemble, loaded = Ensemble.load(folder), load_bundle(folder)
        metrics["explanation"] = measure_explanations(ensemble, loaded.members, held)
    save_manifest(folder, replace(manifest, metrics=metrics))
    write_model_card(folder)


if __name__ == "__main__":
    main()
