"""The files of strangers: each is what it says it is."""

import io
import zipfile

import pytest
from PIL import Image

from clinic.photo import PhotoRejected, clean_photo
from clinic.photo_limits import PhotoLimits
from clinic.photo_reject import RejectReason
from tools.chaos import photos


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (photos.bomb(), RejectReason.TOO_MANY_PIXELS),
        (photos.moving(), RejectReason.ANIMATED),
    ],
)
def test_it_is_refused_for_this_reason(data: bytes, reason: RejectReason) -> None:
    with pytest.raises(PhotoRejected) as refused:
        clean_photo(data, limits=PhotoLimits())

    assert refused.value.reason == reason


def test_the_bomb_is_small_until_it_is_unpacked() -> None:
    assert len(photos.bomb()) < 1_000_000


def test_the_comment_stands_in_the_file_of_a_good_photo() -> None:
    photo = photos.with_comment(1, b"CHAOS-MARK")

    assert b"CHAOS-MARK" in photo
    assert clean_photo(photo, limits=PhotoLimits()).width > 0


def test_the_polyglot_is_a_photo_and_an_archive() -> None:
    data = photos.polyglot(photos.with_comment(1, b""))

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("payload") == photos.HIDDEN
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
