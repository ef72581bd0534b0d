"""The eight views of a square: quarter turns and mirrors, under which no diagnosis changes."""

from collections.abc import Sequence

import numpy as np

from ml.arrays import Pixels

VIEWS = 8


def view(photo: Pixels, number: int) -> Pixels:
    """View 0 is the photo itself; 1 to 3 turn it, 4 to 7 are the mirrored four."""
    turned = np.rot90(photo[:, ::-1] if number >= VIEWS // 2 else photo, number % (VIEWS // 2))
    return np.ascontiguousarray(turned)


def views_of(photos: Sequence[Pixels], count: int) -> list[list[Pixels]]:
    """`count` (1 to 8) different views, each of all photos; the first is the photos themselves."""
    if not 1 <= count <= VIEWS:
        raise ValueError(f"a photo has 1 to {VIEWS} views, not {count}")
    # Far views first: two views are the photo and its half turn, four are the quarter turns.
    order = (0, 2, 1, 3, 4, 6, 5, 7)
    return [[view(photo, number) for photo in photos] for number in order[:count]]
