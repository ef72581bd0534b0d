"""The middle square of a photo: what the networks see, and where it lies in the photo."""

from collections.abc import Iterable
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


def squares_of(rgb: Pixels, sizes: Iterable[int]) -> dict[int, Pixels]:
    """Cut the middle of uint8 [h, w, 3] once and scale it to uint8 [size, size, 3] of each size."""
    square = middle_square(height=rgb.shape[0], width=rgb.shape[1])
    cut = np.ascontiguousarray(rgb[square.rows, square.columns])
    picture = Image.fromarray(cut)
    return {
        size: cut
        if size == square.side
        else np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        for size in sizes
    }


def square_of(rgb: Pixels, *, size: int) -> Pixels:
    """Cut the middle of uint8 [h, w, 3] and scale it to uint8 [size, size, 3]."""
    return squares_of(rgb, [size])[size]
