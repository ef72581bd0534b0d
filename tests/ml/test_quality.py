import numpy as np
import pytest
from PIL import Image, ImageFilter

from ml.quality import assess_quality, measure, thresholds_from
from ml.quality_flag import QualityFlag


def changed(photo, change):
    return np.asarray(change(Image.fromarray(photo)))


@pytest.fixture
def photo(lesion_photos):
    return lesion_photos[0]


@pytest.fixture
def thresholds(lesion_photos):
    return thresholds_from(lesion_photos)


def flags_of(photo, thresholds):
    return set(assess_quality(photo, thresholds).flags)


def test_photos_like_those_that_set_the_thresholds_pass(photo, quality_thresholds):
    assert assess_quality(photo, quality_thresholds).flags == ()


def test_a_dark_photo_is_flagged(photo, quality_thresholds):
    dark = (photo * 0.1).astype(np.uint8)
    assert QualityFlag.TOO_DARK in flags_of(dark, quality_thresholds)


def test_an_overexposed_photo_is_flagged(photo, quality_thresholds):
    bright = np.clip(photo.astype(int) + 200, 0, 255).astype(np.uint8)
    assert QualityFlag.TOO_BRIGHT in flags_of(bright, quality_thresholds)


def test_a_blurred_photo_is_flagged_and_sharpness_falls_with_blur(photo, thresholds):
    blurred = [
        changed(photo, lambda image, r=radius: image.filter(ImageFilter.GaussianBlur(r)))
        for radius in (1, 3, 6)
    ]
    sharpness = [measure(item).sharpness for item in (photo, *blurred)]
    assert sharpness == sorted(sharpness, reverse=True)
    assert QualityFlag.BLURRED in flags_of(blurred[-1], thresholds)


def test_a_flat_picture_has_no_contrast(quality_thresholds):
    flat = np.full((200, 200, 3), (200, 150, 130), dtype=np.uint8)
    assert QualityFlag.LOW_CONTRAST in flags_of(flat, quality_thresholds)


def test_a_tiny_photo_is_flagged(photo, quality_thresholds):
    assert QualityFlag.TOO_SMALL in flags_of(photo[:60, :60], quality_thresholds)


def test_a_green_picture_is_not_skin(photo, quality_thresholds):
    green = np.ascontiguousarray(photo[..., [1, 0, 2]])
    assert QualityFlag.NOT_SKIN_LIKE in flags_of(green, quality_thresholds)


def test_black_corners_do_not_make_a_photo_dark(photo):
    rows, columns = np.ogrid[:180, :240]
    outside = (rows - 89.5) ** 2 + (columns - 119.5) ** 2 > 90**2
    ringed = photo.copy()
    ringed[outside] = 0
    assert measure(ringed).brightness == pytest.approx(measure(photo).brightness, abs=0.02)


def test_thresholds_cut_off_only_the_rare_ends(lesion_photos, thresholds):
    values = [measure(photo).brightness for photo in lesion_photos]
    assert min(values) <= thresholds.darkest < thresholds.brightest <= max(values)
    assert thresholds.smallest_side == 180
