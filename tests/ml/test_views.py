import numpy as np
import pytest

from ml.views import VIEWS, views_of


@pytest.fixture
def photo():
    return np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)


def test_the_first_view_is_the_photo_itself(photo):
    ((first,),) = views_of([photo], 1)
    assert np.array_equal(first, photo)


def test_eight_views_are_all_different_and_hold_the_same_pixels(photo):
    seen = [views[0] for views in views_of([photo], VIEWS)]
    assert len({view.tobytes() for view in seen}) == VIEWS
    for view in seen:
        assert sorted(map(tuple, view.reshape(-1, 3))) == sorted(map(tuple, photo.reshape(-1, 3)))


def test_two_views_are_the_photo_and_its_half_turn(photo):
    _, (turned,) = views_of([photo], 2)
    assert np.array_equal(turned, photo[::-1, ::-1])


@pytest.mark.parametrize("count", [0, 9])
def test_no_other_number_of_views_exists(photo, count):
    with pytest.raises(ValueError, match="1 to 8 views"):
        views_of([photo], count)
