"""Which pixels of a rendition the networks see."""

import io

import numpy as np
import pytest
from PIL import Image

from clinic.photo import Rendition, clean_photo
from clinic.photo_limits import PhotoLimits
from ml.artifact import live_bundle, load_bundle
from tools.lesion_drawing import draw_lesion
from worker.opening import ANALYSED_SIDE, pixels_of


def rendition(width: int, height: int) -> Rendition:
    out = io.BytesIO()
    draw_lesion(2, (width, height)).save(out, "JPEG", quality=95)
    return clean_photo(out.getvalue(), limits=PhotoLimits())


def whole(of: Rendition) -> Image.Image:
    return Image.open(io.BytesIO(of.data)).convert("RGB")


@pytest.mark.parametrize(
    ("width", "height", "seen"),
    [
        (600, 450, (450, 600)),
        (1199, 1000, (1000, 1199)),
        (1600, 1200, (600, 800)),
        (1201, 2403, (1202, 601)),
        (2400, 2400, (600, 600)),
    ],
)
def test_no_more_pixels_are_decoded_than_the_networks_can_use(
    width: int, height: int, seen: tuple[int, int]
) -> None:
    assert pixels_of(rendition(width, height)).shape == (*seen, 3)


def test_a_small_photo_is_seen_as_it_is_stored() -> None:
    of = rendition(800, 600)
    assert (pixels_of(of) == np.asarray(whole(of))).all()


def test_a_large_photo_is_seen_as_the_means_of_its_pixels() -> None:
    of = rendition(1600, 1200)
    means = np.asarray(whole(of).reduce(2), dtype=float)
    difference = np.abs(pixels_of(of) - means)
    assert difference.mean() < 0.5
    assert difference.max() < 10


def test_what_is_seen_is_large_enough_for_the_bundle_in_service() -> None:
    manifest = load_bundle(live_bundle()).manifest
    assert 2 * max(entry.config.input_size for entry in manifest.members) <= ANALYSED_SIDE
    assert manifest.quality.smallest_side <= ANALYSED_SIDE
