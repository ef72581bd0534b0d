"""How unlike the photos of training is this one? Learned from real photos alone.

Two distances are added. What the networks see: the part of a photo's pooled features that lies
outside the main directions of training photos (the residual of Wang et al. 2022, ViM). What any eye
sees: the Mahalanobis distance of its hues, light, saturation, contrast and sharpness. Both are in
standard deviations of held-out photos, so that a common photo scores about nought.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from safetensors.numpy import load, save

from ml.arrays import Floats, Pixels
from ml.geometry import square_of
from ml.quality import QualityMeasures, measure

APPEARANCE_SIDE: Final = 64
_PERCENTS: Final = (5, 25, 50, 75, 95)


def appearance(rgb: Pixels) -> Floats:
    """22 numbers of a uint8 photo [h, w, 3] of any size."""
    return appearance_of(square_of(rgb, size=APPEARANCE_SIDE), measure(rgb))


def appearance_of(square: Pixels, measures: QualityMeasures) -> Floats:
    """22 numbers of a middle square at APPEARANCE_SIDE, each in its natural scale.

    Percentiles of the logarithms of red over green and green over blue, of lightness and of
    saturation; logarithms of contrast and sharpness.
    """
    pixels = square.reshape(-1, 3).astype(np.float64) / 255.0
    red, green, blue = pixels.T + 0.02
    highest = pixels.max(axis=1)
    saturation = (highest - pixels.min(axis=1)) / np.maximum(highest, 1e-3)
    kinds = (np.log(red / green), np.log(green / blue), pixels.mean(axis=1), saturation)
    return np.concatenate(
        [
            *(np.percentile(values, _PERCENTS) for values in kinds),
            np.log([measures.contrast + 1e-3, measures.sharpness + 1e-3]),
        ]
    )


def appearances_of(photos: Sequence[Pixels]) -> Floats:
    return np.stack([appearance(photo) for photo in photos])


@dataclass(frozen=True, kw_only=True)
class OutlierDetector:
    """Main directions [k, channels] of pooled features, and mean and precision of appearances.

    Location and spread of each distance stand for held-out photos.
    """

    pooled_mean: Floats
    directions: Floats
    residual_location: Floats
    residual_spread: Floats
    appearance_mean: Floats
    appearance_precision: Floats
    appearance_location: Floats
    appearance_spread: Floats

    def residuals(self, pooled: Floats) -> Floats:
        """Length [n] of what the main directions leave of pooled features [n, channels]."""
        centred = pooled - self.pooled_mean
        left: Floats = np.linalg.norm(
            centred - centred @ self.directions.T @ self.directions, axis=1
        )
        return left

    def distances(self, appearances: Floats) -> Floats:
        """Mahalanobis distances [n] of appearances [n, 22] from the mean one."""
        centred = appearances - self.appearance_mean
        squares = np.einsum("ni,ij,nj->n", centred, self.appearance_precision, centred)
        lengths: Floats = np.sqrt(np.maximum(squares, 0.0))
        return lengths

    def scores(self, pooled: Floats, appearances: Floats) -> Floats:
        """Outlier scores [n] of pooled features and appearances [n, 22]; higher is stranger."""
        residual = (self.residuals(pooled) - self.residual_location) / self.residual_spread
        looks = self.distances(appearances) - self.appearance_location
        total: Floats = residual + looks / self.appearance_spread
        return total

    def to_bytes(self) -> bytes:
        """As a safetensors file, in single precision."""
        arrays = {item.name: getattr(self, item.name) for item in fields(self)}
        single = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
        data: bytes = save(single)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """SafetensorError or TypeError when the bytes are no such file."""
        return cls(**{name: values.astype(np.float64) for name, values in load(data).items()})
