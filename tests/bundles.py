"""A small ensemble with seeded random weights: real files, real loading, meaningless answers."""

from dataclasses import replace
from pathlib import Path

import torch

from ml.artifact import LIVE_FILE, Manifest, save_manifest, save_member
from ml.members import MEMBERS, build_member
from ml.quality import QualityThresholds
from ml.triage import Policy

POLICY = Policy(suspicious_malignant=0.3, urgent_malignant=0.7, low_confidence=0.1, high_spread=0.5)
NEVER_FLAGS = QualityThresholds(
    smallest_side=1,
    darkest=0.0,
    brightest=1.0,
    lowest_contrast=0.0,
    lowest_sharpness=0.0,
    lowest_skin_share=0.0,
)


def small_bundle(weights: Path, *, version: str = "test-1") -> Path:
    """Write a bundle of one member into the folder `weights`, put it in service; its folder."""
    torch.manual_seed(7)
    config = replace(MEMBERS["basic_cnn"], input_size=32)
    folder = weights / version
    entry = save_member(folder, config=config, member=build_member(config), cam_scale=1.0)
    manifest = Manifest(
        version=version, members=(entry,), temperature=1.0, policy=POLICY, quality=NEVER_FLAGS
    )
    save_manifest(folder, manifest)
    (weights / LIVE_FILE).write_text(f"{version}\n", encoding="utf-8")
    return folder
