"""What goes wrong with photos of patients, in graded steps, done to photos that were good.

Each step takes and gives uint8 photos [h, w, 3]. Lengths are shares of the shorter side, so that a
step means the same at any size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from ml.arrays import Pixels
from ml.quality_flag import QualityFlag


@dataclass(frozen=True)
class Degradation:
    """One step of a defect; `flag` is the one that ought to be raised for it."""

    flag: QualityFlag
    step: str
    change: Callable[[Pixels, float], Pixels]
    grade: float

    def of(self, photo: Pixels) -> Pixels:
        return self.change(photo, self.grade)


def dim(photo: Pixels, light: float) -> Pixels:
    """The photo in `light` times its light (0..1)."""
    return np.round(photo * light).astype(np.uint8)


def overexpose(photo: Pixels, towards_white: float) -> Pixels:
    """Each value so far (0..1) on its way to white."""
    return np.round(photo + towards_white * (255.0 - photo)).astype(np.uint8)


def blur(photo: Pixels, share: float) -> Pixels:
    """Gaussian blur whose standard deviation is this share of the shorter side."""
    radius = share * min(photo.shape[:2])
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def flatten(photo: Pixels, contrast: float) -> Pixels:
    """Deviations from the mean colour times `contrast` (0..1): fog, or a smeared lens."""
    mean = photo.mean(axis=(0, 1))
    flattened: Pixels = np.round(mean + contrast * (photo - mean)).astype(np.uint8)
    return flattened


def shrink(photo: Pixels, share: float) -> Pixels:
    """The photo with this share of its width and height."""
    height, width = photo.shape[:2]
    size = (max(1, round(share * width)), max(1, round(share * height)))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def lose_red(photo: Pixels, share: float) -> Pixels:
    """Red falls by this share (0..1) of itself: a wrong white balance, or no skin at all."""
    changed = photo.astype(np.float64)
    changed[..., 0] *= 1.0 - share
    return np.round(changed).astype(np.uint8)


DEGRADATIONS: Final = tuple(
    Degradation(flag, words.format(grade), change, grade)
    for flag, words, change, grades in (
        (QualityFlag.TOO_SMALL, "{:.0%} of the width", shrink, (0.9, 0.5, 0.25)),
        (QualityFlag.TOO_DARK, "{:.0%} of the light", dim, (0.6, 0.4, 0.2)),
        (QualityFlag.TOO_BRIGHT, "{:.0%} towards white", overexpose, (0.3, 0.5, 0.7)),
        (QualityFlag.BLURRED, "blur of {:.1%}", blur, (0.005, 0.01, 0.02, 0.04)),
        (QualityFlag.LOW_CONTRAST, "{:.0%} of the contrast", flatten, (0.5, 0.25, 0.1)),
        (QualityFlag.NOT_SKIN_LIKE, "{:.0%} less red", lose_red, (0.1, 0.3, 0.5)),
    )
    for grade in grades
)
