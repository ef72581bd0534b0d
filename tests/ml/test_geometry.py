import numpy as np
import pytest

from ml.geometry import middle_square, square_of


@pytest.mark.parametrize(("height", "width"), [(10, 20), (20, 10), (11, 20), (7, 7)])
def test_the_square_is_as_large_as_fits_and_in_the_middle(height, width):
    square = middle_square(height=height, width=width)
    assert square.side == min(height, width)
    assert abs((width - square.side) - 2 * square.left) <= 1
    assert abs((height - square.side) - 2 * square.top) <= 1


def test_only_the_middle_of_a_wide_photo_is_seen():
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[:, 50:150] = 200
    assert (square_of(photo, size=50) == 200).all()


def test_a_square_of_the_right_size_is_left_as_it_is():
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert (square_of(photo, size=64) == photo).all()
