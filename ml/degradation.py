"""What goes wrong with photos of patients, in graded steps, done to photos that were good.

Each step takes and gives uint8 photos [h, w, 3]. Lengths are shares of the shorter side, so that a
step means the same at any size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    of: Callable[[Pixels], Pixels]


def dim(photo: Pixels, *, light: float) -> Pixels:
    """The photo in `light` times its light (0..1)."""
    return np.round(photo * light).astype(np.uint8)


def overexpose(photo: Pixels, *, towards_white: float) -> Pixels:
    """Each value so far (0..1) on its way to white."""
    return np.round(photo + towards_white * (255.0 - photo)).astype(np.uint8)


def blur(photo: Pixels, *, share: float) -> Pixels:
    """Gaussian blur whose standard deviation is this share of the shorter side."""
    radius = share * min(photo.shape[:2])
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def flatten(photo: Pixels, *, contrast: float) -> Pixels:
    """Deviations from the mean colour times `contrast` (0..1): fog, or a smeared lens."""
    mean = photo.mean(axis=(0, 1))
    flattened: Pixels = np.round(mean + contrast * (photo - mean)).astype(np.uint8)
    return flattened


def shrink(photo: Pixels, *, share: float) -> Pixels:
    """The photo with this share of its width and height."""
    height, width = photo.shape[:2]
    size = (max(1, round(share * width)), max(1, round(share * height)))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def lose_red(photo: Pixels, *, share: float) -> Pixels:
    """Red falls by this share (0..1) of itself: a wrong white balance, or no skin at all."""
    changed = photo.astype(np.float64)
    changed[..., 0] *= 1.0 - share
    return np.round(changed).astype(np.uint8)


DEGRADATIONS: Final = (
    *(
        Degradation(
            QualityFlag.TOO_SMALL, f"{share:.0%} of the width", partial(shrink, share=share)
        )
        for share in (0.9, 0.5, 0.25)
    ),
    *(
        Degradation(QualityFlag.TOO_DARK, f"{light:.0%} of the light", partial(dim, light=light))
        for light in (0.6, 0.4, 0.2)
    ),
    *(
        Degradation(
            QualityFlag.TOO_BRIGHT,
            f"{way:.0%} towards white",
            partial(overexpose, towards_white=way),
        )
        for way in (0.3, 0.5, 0.7)
    ),
    *(
        Degradation(QualityFlag.BLURRED, f"blur of {share:.1%}", partial(blur, share=share))
        for share in (0.005, 0.01, 0.02, 0.04)
    ),
    *(
        Degradation(
            QualityFlag.LOW_CONTRAST, f"{rest:.0%} of the contrast", partial(flatten, contrast=rest)
        )
        for rest in (0.5, 0.25, 0.1)
    ),
    *(
        Degradation(
            QualityFlag.NOT_SKIN_LIKE, f"{share:.0%} less red", partial(lose_red, share=share)
        )
        for share in (0.1, 0.3, 0.5)
    ),
)
