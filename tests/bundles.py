"""Small ensembles with seeded random weights: real files, real loading, meaningless answers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ml.artifact import LIVE_FILE, Manifest, save_manifest, save_member, save_outlier
from ml.conformal import LEVELS, Conformal
from ml.engine_eager import EagerEngine
from ml.forward import Members
from ml.labels import CLASSES
from ml.members import MEMBERS, MemberConfig, PooledClassifier, build_member
from ml.outlier import OutlierDetector
from ml.outlier_fit import fit_outlier_detector
from ml.quality import QualityThresholds
from ml.triage import Policy
from tools.lesion_drawing import draw_lesion

POLICY = Policy(
    suspicious_malignant=0.3,
    urgent_malignant=0.7,
    low_confidence=0.1,
    high_spread=0.5,
    unusual=1e6,
    not_skin=1e9,
    abstain_cost=1.0,
)
NEVER_FLAGS = QualityThresholds(
    smallest_side=1,
    darkest=0.0,
    brightest=1.0,
    lowest_contrast=0.0,
    lowest_sharpness=0.0,
    lowest_skin_share=0.0,
)
ONLY_THE_LIKELIEST = Conformal({level: dict.fromkeys(CLASSES, 1.1) for level in LEVELS})


def write_bundle(
    folder: Path,
    sizes: dict[str, int],
    *,
    seed: int = 7,
    policy: Policy = POLICY,
    quality: QualityThresholds = NEVER_FLAGS,
    temperature: float = 1.0,
) -> Path:
    """Write a bundle of the named members at these input sizes; return its folder."""
    torch.manual_seed(seed)
    configs = [replace(MEMBERS[name], input_size=size) for name, size in sizes.items()]
    members = {config.name: build_member(config) for config in configs}
    entries = [
        save_member(folder, config=config, member=members[config.name], cam_scale=0.5)
        for config in configs
    ]
    manifest = Manifest(
        version=folder.name,
        members=tuple(entries),
        outlier_sha256=save_outlier(folder, _outlier(_served(members, configs))),
        prevalence=dict.fromkeys(CLASSES, 1.0 / len(CLASSES)),
        prevalence_power=0.0,
        named_power=0.0,
        temperature=temperature,
        conformal=ONLY_THE_LIKELIEST,
        policy=policy,
        quality=quality,
    )
    save_manifest(folder, manifest)
    return folder


def _served(members: dict[str, PooledClassifier], configs: list[MemberConfig]) -> Members:
    return Members(EagerEngine.of(members.values(), configs), configs)


def _outlier(members: Members) -> OutlierDetector:
    photos: Sequence[np.ndarray] = [np.asarray(draw_lesion(seed, (80, 60))) for seed in range(8)]
    pooled = members.forward(photos).pooled
    return fit_outlier_detector(
        pooled=pooled[:4],
        photos=photos[:4],
        held_out_pooled=pooled[4:],
        held_out_photos=photos[4:],
    )


def small_bundle(weights: Path, *, version: str = "test-1", seed: int = 7) -> Path:
    """Write a bundle of one member into the folder `weights`, put it in service; its folder."""
    folder = write_bundle(weights / version, {"basic_cnn": 32}, seed=seed)
    (weights / LIVE_FILE).write_text(f"{version}\n", encoding="utf-8")
    return folder
