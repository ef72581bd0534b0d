"""The middle square of a photo: what the networks see, and where it lies in the photo."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ml.arrays import Pixels


@dataclass(frozen=True)
class Square:
    """In pixels of the photo."""

    left: int
    top: int
    side: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.side)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.side)


def middle_square(*, height: int, width: int) -> Square:
    side = min(height, width)
    return Square(left=(width - side) // 2, top=(height - side) // 2, side=side)


def square_of(rgb: Pixels, *, size: int) -> Pixels:
    """Cut the middle of uint8 [h, w, 3] and scale it to uint8 [size, size, 3]."""
    square = middle_square(height=rgb.shape[0], width=rgb.shape[1])
    cut = np.ascontiguousarray(rgb[square.rows, square.columns])
    if square.side == size:
        return cut
    return np.asarray(Image.fromarray(cut).resize((size, size), Image.Resampling.BICUBIC))
