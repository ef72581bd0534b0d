"""All that is taken from a photo's pixels before the networks: cut once, each size scaled once."""

from collections.abc import Iterable
from dataclasses import dataclass

from ml.arrays import Floats, Pixels
from ml.geometry import middle_square, squares_of
from ml.outlier import APPEARANCE_SIDE, appearance_of
from ml.quality import MEASURED_SIDE, QualityMeasures, measure_square


@dataclass(frozen=True, kw_only=True)
class PreparedPhoto:
    """`squares`: by side, uint8 [side, side, 3] for the networks. `appearance`: 22 numbers."""

    squares: dict[int, Pixels]
    measures: QualityMeasures
    appearance: Floats


def prepare(photo: Pixels, sides: Iterable[int]) -> PreparedPhoto:
    """Prepare a uint8 photo [h, w, 3] of any size for networks with these input sides."""
    squares = squares_of(photo, {*sides, MEASURED_SIDE, APPEARANCE_SIDE})
    side = middle_square(height=photo.shape[0], width=photo.shape[1]).side
    measures = measure_square(squares[MEASURED_SIDE], side=side)
    return PreparedPhoto(
        squares={each: squares[each] for each in sides},
        measures=measures,
        appearance=appearance_of(squares[APPEARANCE_SIDE], measures),
    )
