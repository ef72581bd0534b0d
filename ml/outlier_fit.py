"""Learns what photos of training look like, for the outlier score."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from sklearn.decomposition import PCA

from ml.arrays import Floats, Pixels
from ml.outlier import OutlierDetector, appearances_of

DIRECTIONS: Final = 64
_SHRINKAGE: Final = 1e-3


def fit_outlier_detector(
    *,
    pooled: Floats,
    photos: Sequence[Pixels],
    held_out_pooled: Floats,
    held_out_photos: Sequence[Pixels],
) -> OutlierDetector:
    """Learn from training photos and their pooled features [n, channels]; scale on held-out ones.

    Features are trained on, so only held-out photos tell how far a new one usually lies.
    """
    main = PCA(n_components=min(DIRECTIONS, min(pooled.shape) - 1), random_state=0).fit(pooled)
    seen = appearances_of(photos)
    covariance: Floats = np.cov(seen.T).astype(np.float64)
    width = len(covariance)
    covariance += np.eye(width) * max(_SHRINKAGE * np.trace(covariance) / width, 1e-9)
    unscaled = OutlierDetector(
        pooled_mean=main.mean_,
        directions=main.components_,
        residual_location=np.zeros(1),
        residual_spread=np.ones(1),
        appearance_mean=seen.mean(axis=0),
        appearance_precision=np.linalg.inv(covariance).astype(np.float64),
        appearance_location=np.zeros(1),
        appearance_spread=np.ones(1),
    )
    residuals = unscaled.residuals(held_out_pooled)
    distances = unscaled.distances(appearances_of(held_out_photos))
    return replace(
        unscaled,
        residual_location=np.median(residuals, keepdims=True),
        residual_spread=np.std(residuals, keepdims=True) + 1e-9,
        appearance_location=np.median(distances, keepdims=True),
        appearance_spread=np.std(distances, keepdims=True) + 1e-9,
    )
