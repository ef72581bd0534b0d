"""Small bundles with random weights, and pictures that a program drew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.artifact import Manifest, save_manifest, save_member
from ml.members import MEMBERS, MemberConfig, build_member
from ml.quality import QualityThresholds
from ml.triage import Policy
from tools.lesion_drawing import draw_lesion


@pytest.fixture
def policy():
    return Policy(
        suspicious_malignant=0.2, urgent_malignant=0.6, low_confidence=0.4, high_spread=0.4
    )


@pytest.fixture
def quality_thresholds():
    return QualityThresholds(
        smallest_side=100,
        darkest=0.15,
        brightest=0.95,
        lowest_contrast=0.01,
        lowest_sharpness=0.01,
        lowest_skin_share=0.3,
    )


@pytest.fixture(scope="session")
def lesion_photos():
    return [np.asarray(draw_lesion(seed, (240, 180))) for seed in range(4)]


@pytest.fixture
def make_bundle(tmp_path, policy, quality_thresholds):
    """Write a bundle of two small networks with random weights, and return its folder."""

    def make(version: str = "test") -> Path:
        folder = tmp_path / version
        torch.manual_seed(3)
        small: MemberConfig = replace(MEMBERS["basic_cnn"], input_size=64)
        entries = [save_member(folder, config=small, member=build_member(small), cam_scale=0.5)]
        net = replace(MEMBERS["efficientnet_b0"], input_size=64)
        entries.append(save_member(folder, config=net, member=build_member(net), cam_scale=0.5))
        save_manifest(
            folder,
            Manifest(
                version=version,
                members=tuple(entries),
                temperature=1.5,
                policy=policy,
                quality=quality_thresholds,
            ),
        )
        return folder

    return make
