"""Is this photo fit to be judged? Five measures on the middle square, against real photos.

All measures but the size are taken on the square scaled to 150 pixels, the scale on which the
thresholds were taken as percentiles of HAM10000. A flag never speaks for a photo, only against it.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Floats, Pixels
from ml.geometry import middle_square, square_of
from ml.quality_flag import QualityFlag

MEASURED_SIDE: Final = 150
RARE_PERCENT: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class QualityMeasures:
    """What is measured on one photo.

    Side: the shorter one, in pixels. Brightness and contrast: mean and deviation of the luminance
    (0..1). Sharpness: deviation of the Laplacian over the contrast. Skin share: share of pixels
    that are redder than green and blue, in 0..1.
    """

    side: int
    brightness: float
    contrast: float
    sharpness: float
    skin_share: float


@dataclass(frozen=True, kw_only=True)
class QualityThresholds:
    smallest_side: int
    darkest: float
    brightest: float
    lowest_contrast: float
    lowest_sharpness: float
    lowest_skin_share: float


@dataclass(frozen=True)
class Quality:
    flags: tuple[QualityFlag, ...]
    measures: QualityMeasures


@cache
def _middle_disc(side: int) -> NDArray[np.bool_]:
    """Many dermatoscopes leave black corners; a disc leaves them out."""
    offset = np.arange(side) - (side - 1) / 2.0
    disc: NDArray[np.bool_] = offset[:, None] ** 2 + offset[None, :] ** 2 <= (side / 2.0) ** 2
    return disc


def _laplacian(grey: Floats) -> Floats:
    edges: Floats = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4.0 * grey[1:-1, 1:-1]
    )
    return edges


def measure(rgb: Pixels) -> QualityMeasures:
    """Measures of a uint8 photo [h, w, 3] of any size."""
    side = middle_square(height=rgb.shape[0], width=rgb.shape[1]).side
    return measure_square(square_of(rgb, size=MEASURED_SIDE), side=side)


def measure_square(scaled: Pixels, *, side: int) -> QualityMeasures:
    """Measures of a photo's middle square, scaled from `side` to MEASURED_SIDE pixels."""
    square = scaled.astype(np.float64) / 255.0
    disc = _middle_disc(MEASURED_SIDE)
    grey = square @ np.array([0.299, 0.587, 0.114])
    contrast = float(grey[disc].std())
    edges = _laplacian(grey)[disc[1:-1, 1:-1]]
    red, green, blue = (square[..., channel][disc] for channel in range(3))
    return QualityMeasures(
        side=side,
        brightness=float(grey[disc].mean()),
        contrast=contrast,
        sharpness=float(edges.std()) / max(contrast, 1e-6),
        skin_share=float(((red > green + 0.02) & (red > blue + 0.02)).mean()),
    )


def _flags(measures: QualityMeasures, thresholds: QualityThresholds) -> Iterable[QualityFlag]:
    if measures.side < thresholds.smallest_side:
        yield QualityFlag.TOO_SMALL
    if measures.brightness < thresholds.darkest:
        yield QualityFlag.TOO_DARK
    if measures.brightness > thresholds.brightest:
        yield QualityFlag.TOO_BRIGHT
    if measures.sharpness < thresholds.lowest_sharpness:
        yield QualityFlag.BLURRED
    if measures.contrast < thresholds.lowest_contrast:
        yield QualityFlag.LOW_CONTRAST
    if measures.skin_share < thresholds.lowest_skin_share:
        yield QualityFlag.NOT_SKIN_LIKE


def assess_quality(rgb: Pixels, thresholds: QualityThresholds) -> Quality:
    """Flag a uint8 photo [h, w, 3]; no flag says only that nothing rare was seen."""
    return quality_of(measure(rgb), thresholds)


def quality_of(measures: QualityMeasures, thresholds: QualityThresholds) -> Quality:
    """Flag a photo by its measures."""
    return Quality(tuple(_flags(measures, thresholds)), measures)


def thresholds_from(photos: Iterable[Pixels]) -> QualityThresholds:
    """Cut off the rarest half percent of real photos on each side; take the smallest size."""
    measured = [asdict(measure(photo)) for photo in photos]
    columns = {name: np.array([item[name] for item in measured]) for name in measured[0]}

    def low(name: str) -> float:
        return float(np.percentile(columns[name], RARE_PERCENT))

    return QualityThresholds(
        smallest_side=int(columns["side"].min()),
        darkest=low("brightness"),
        brightest=float(np.percentile(columns["brightness"], 100.0 - RARE_PERCENT)),
        lowest_contrast=low("contrast"),
        lowest_sharpness=low("sharpness"),
        lowest_skin_share=low("skin_share"),
    )
