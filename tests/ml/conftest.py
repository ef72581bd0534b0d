"""Small bundles with random weights, and pictures that a program drew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.quality import QualityThresholds
from tests.bundles import POLICY, write_bundle
from tools.lesion_drawing import draw_lesion


@pytest.fixture
def policy():
    return replace(
        POLICY,
        suspicious_malignant=0.2,
        urgent_malignant=0.6,
        low_confidence=0.4,
        high_spread=0.4,
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
        return write_bundle(
            tmp_path / version,
            {"basic_cnn": 64, "efficientnet_b0": 64},
            policy=policy,
            quality=quality_thresholds,
            temperature=1.5,
        )

    return make
