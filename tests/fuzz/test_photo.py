"""Damaged photos of each format: a clean rendition or a reason, and nothing else."""

import io
from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clinic.photo import PhotoRejected, clean_photo
from clinic.photo_limits import PhotoLimits
from tests.fuzz.conftest import Budget
from tools.lesion_drawing import draw_lesion

LIMITS = PhotoLimits(min_side=8, max_pixels=250_000, max_side=64)
FORMATS = ("JPEG", "PNG", "WEBP")
MODES = ("RGB", "L", "P", "RGBA", "CMYK")


@cache
def whole_photos() -> tuple[bytes, ...]:
    """Small photos of each format and of what modes it knows, with EXIF and a frame to turn."""
    drawn = draw_lesion(3).resize((40, 32))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "A note"
    made = []
    for kind in FORMATS:
        for mode in MODES:
            out = io.BytesIO()
            try:
                drawn.convert(mode).save(out, kind, exif=exif, progressive=True)
            except OSError:
                continue  # this format does not know the mode
            made.append(out.getvalue())
    return tuple(made)


def damaged(data: bytes, seed: int) -> bytes:
    """The photo with up to eight changes: bytes written over, cut out, doubled or put in."""
    dice = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(dice.integers(1, 9)):
        at, size = int(dice.integers(0, len(changed) + 1)), int(dice.integers(1, 17))
        piece = dice.bytes(size)
        choice = dice.integers(0, 5)
        if choice == 0:
            changed[at : at + size] = piece
        elif choice == 1:
            changed[at : at + 1] = bytes([dice.integers(0, 256)])
        elif choice == 2:
            del changed[at : at + size]
        elif choice == 3:
            changed[at:at] = changed[at : at + size]
        else:
            changed[at:at] = piece
    return bytes(changed)


def test_no_damage_to_a_photo_breaks_the_decoder(budget: Budget) -> None:
    photos = whole_photos()
    assert len(photos) >= 8

    @budget.settings()
    @given(st.integers(0, len(photos) - 1), st.integers(0, 2**63))
    def one(which: int, seed: int) -> None:
        budget.tried += 1
        try:
            rendition = clean_photo(damaged(photos[which], seed), limits=LIMITS)
        except PhotoRejected:
            return
        assert rendition.data.startswith(b"\xff\xd8\xff")

    one()
