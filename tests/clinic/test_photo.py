import hashlib
import io
import struct
import warnings
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from clinic.photo import PhotoLimits, PhotoRejected, Rendition, clean_photo
from clinic.photo_reject import RejectReason

LIMITS = PhotoLimits()
MARKER = b"GPS-of-the-patients-home"


def picture(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    """A light skin tone with a dark spot in the upper left quarter."""
    image = Image.new("RGB", (width, height), (224, 172, 150))
    spot = (width // 8, height // 8, width // 3, height // 3)
    ImageDraw.Draw(image).ellipse(spot, fill=(90, 50, 40))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def pixels(rendition: Rendition) -> Image.Image:
    image = Image.open(io.BytesIO(rendition.data), formats=["JPEG"])
    image.load()
    return image


def assert_close(found: Any, wanted: tuple[int, int, int], *, by: int = 8) -> None:
    assert all(abs(a - b) <= by for a, b in zip(found, wanted, strict=True)), (found, wanted)


def reason_for(data: bytes, limits: PhotoLimits = LIMITS) -> RejectReason:
    with pytest.raises(PhotoRejected) as caught:
        clean_photo(data, limits=limits)
    return caught.value.reason


def png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_of_size(width: int, height: int, *extra: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + png_chunk(b"IEND", b"")


# --- what becomes a rendition ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_ordinary_photo_keeps_its_size_and_colours(kind: str) -> None:
    rendition = clean_photo(encoded(picture(), kind), limits=LIMITS)
    assert (rendition.width, rendition.height) == pixels(rendition).size == (400, 300)
    assert rendition.sha256 == hashlib.sha256(rendition.data).hexdigest()
    assert_close(pixels(rendition).getpixel((350, 250)), (224, 172, 150))
    assert_close(pixels(rendition).getpixel((90, 70)), (90, 50, 40))


def test_the_same_photo_always_gives_the_same_rendition() -> None:
    data = encoded(picture())
    assert clean_photo(data, limits=LIMITS) == clean_photo(data, limits=LIMITS)


def test_a_photo_held_sideways_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rendition = clean_photo(encoded(picture(), exif=exif), limits=LIMITS)
    assert (rendition.width, rendition.height) == (300, 400)
    assert_close(pixels(rendition).getpixel((300 - 70, 90)), (90, 50, 40))


def test_a_broken_exif_block_does_not_lose_the_photo() -> None:
    exif = b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff"
    assert clean_photo(encoded(picture(), exif=exif), limits=LIMITS).width == 400


def test_a_large_photo_is_scaled_down_to_the_longest_side_allowed() -> None:
    limits = PhotoLimits(max_side=256)
    rendition = clean_photo(encoded(picture()), limits=limits)
    assert (rendition.width, rendition.height) == (256, 192)


def test_a_polyglot_with_gps_and_an_archive_comes_out_clean() -> None:
    exif = Image.Exif()
    exif[0x010E] = MARKER.decode()
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 0.0)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("payload.txt", MARKER)
    photo = encoded(picture(), exif=exif, comment=MARKER, xmp=MARKER)
    polyglot = photo + archive.getvalue()
    assert zipfile.is_zipfile(io.BytesIO(polyglot))
    assert polyglot.count(MARKER) == 4

    rendition = clean_photo(polyglot, limits=LIMITS)
    assert MARKER not in rendition.data
    assert not zipfile.is_zipfile(io.BytesIO(rendition.data))
    assert b"Exif" not in rendition.data
    # Start, JFIF segment and tables: no application segment but APP0 and no comment.
    assert pixels(rendition).getexif() == {}
    assert set(pixels(rendition).info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_text_chunks_of_a_png_stay_behind() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", MARKER.decode())
    data = encoded(picture(), "PNG", pnginfo=notes)
    assert MARKER in data
    assert MARKER not in clean_photo(data, limits=LIMITS).data


def swapped_channels_profile() -> bytes:
    """An sRGB profile whose red and blue primaries changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


def test_the_colour_profile_is_applied_before_it_is_dropped() -> None:
    image = Image.new("RGB", (300, 300), (200, 60, 20))
    data = encoded(image, "PNG", icc_profile=swapped_channels_profile())
    rendition = clean_photo(data, limits=LIMITS)
    assert_close(pixels(rendition).getpixel((150, 150)), (20, 60, 200), by=10)
    assert "icc_profile" not in pixels(rendition).info


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_broken_or_foreign_colour_profile_does_not_lose_the_photo(mode: str) -> None:
    plain = clean_photo(encoded(picture(mode=mode)), limits=LIMITS)
    broken = clean_photo(encoded(picture(mode=mode), icc_profile=b"nonsense"), limits=LIMITS)
    assert broken == plain
    if mode != "RGB":
        data = encoded(picture(mode=mode), icc_profile=swapped_channels_profile())
        assert clean_photo(data, limits=LIMITS) == plain


def test_a_cmyk_jpeg_becomes_the_same_picture_in_rgb() -> None:
    rendition = clean_photo(encoded(picture(mode="CMYK"), quality=95), limits=LIMITS)
    assert_close(pixels(rendition).getpixel((350, 250)), (224, 172, 150))
    assert_close(pixels(rendition).getpixel((90, 70)), (90, 50, 40))


def test_a_16_bit_picture_keeps_its_greys() -> None:
    grey = Image.new("I;16", (300, 300), 128 * 256)
    rendition = clean_photo(encoded(grey, "PNG"), limits=LIMITS)
    assert_close(pixels(rendition).getpixel((150, 150)), (128, 128, 128), by=2)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA"])
def test_other_modes_become_rgb(mode: str) -> None:
    rendition = clean_photo(encoded(picture(mode=mode), "PNG"), limits=LIMITS)
    assert pixels(rendition).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_transparency_hides_stays_hidden(kind: str) -> None:
    image = Image.new("RGBA", (300, 300), (255, 0, 0, 0))
    rendition = clean_photo(encoded(image, kind, lossless=True), limits=LIMITS)
    assert_close(pixels(rendition).getpixel((150, 150)), (255, 255, 255), by=2)


def test_a_transparent_palette_colour_becomes_white() -> None:
    image = Image.new("P", (300, 300), 0)
    image.putpalette([255, 0, 0])
    rendition = clean_photo(encoded(image, "PNG", transparency=0), limits=LIMITS)
    assert_close(pixels(rendition).getpixel((150, 150)), (255, 255, 255), by=2)


def test_a_colour_marked_as_transparent_becomes_white() -> None:
    image = Image.new("RGB", (300, 300), (255, 0, 0))
    rendition = clean_photo(encoded(image, "PNG", transparency=(255, 0, 0)), limits=LIMITS)
    assert_close(pixels(rendition).getpixel((150, 150)), (255, 255, 255), by=2)


def test_colour_keeps_its_full_resolution() -> None:
    stripes = Image.new("RGB", (300, 300), (200, 60, 60))
    for x in range(0, 300, 2):
        stripes.paste((60, 120, 200), (x, 0, x + 1, 300))
    rendition = clean_photo(encoded(stripes, "PNG"), limits=LIMITS)
    assert_close(pixels(rendition).getpixel((150, 150)), (60, 120, 200), by=12)
    assert_close(pixels(rendition).getpixel((151, 150)), (200, 60, 60), by=12)


def test_a_phone_photo_with_a_second_picture_inside_is_no_animation() -> None:
    depth_map = Image.new("L", (100, 75))
    data = encoded(picture(), "MPO", save_all=True, append_images=[depth_map])
    assert clean_photo(data, limits=LIMITS).width == 400


# --- what is rejected ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just some words",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300"></svg>',
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n",
        encoded(picture(), "GIF"),
        encoded(picture(), "BMP"),
        encoded(picture(), "TIFF"),
        encoded(picture(), "ICO"),
        b"\x00\x00\x00\x18ftypheic" + bytes(200),
        b"PK\x03\x04" + bytes(200),
    ],
)
def test_another_kind_of_file_is_not_a_photo(data: bytes) -> None:
    assert reason_for(data) is RejectReason.NOT_A_PHOTO


def test_a_pixel_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = png_of_size(13_000, 13_000)
    assert reason_for(bomb) is RejectReason.TOO_MANY_PIXELS


@pytest.mark.parametrize("side", [5_001, 9_600, 60_000])
def test_the_pixel_limit_holds_below_and_above_the_librarys_own(side: int) -> None:
    assert reason_for(png_of_size(side, side)) is RejectReason.TOO_MANY_PIXELS


def test_the_librarys_own_warning_is_taken_as_a_refusal() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limits = PhotoLimits(max_pixels=10**9)
        assert reason_for(png_of_size(10_000, 10_000), limits) is RejectReason.TOO_MANY_PIXELS


def test_a_header_that_promises_the_largest_size_is_refused() -> None:
    assert reason_for(png_of_size(2**31 - 1, 2**31 - 1)) is RejectReason.TOO_MANY_PIXELS


def test_a_compressed_text_bomb_in_the_header_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(50_000_000)))
    assert reason_for(png_of_size(300, 300, bomb)) is RejectReason.DAMAGED


def test_a_file_over_the_byte_limit_is_refused() -> None:
    data = encoded(picture())
    limits = PhotoLimits(max_bytes=len(data) - 1)
    assert reason_for(data, limits) is RejectReason.FILE_TOO_LARGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_photo_is_damaged(kind: str) -> None:
    noise = Image.effect_noise((400, 300), 60).convert("RGB")
    data = encoded(noise, kind)
    for share in (0.2, 0.5, 0.9):
        assert reason_for(data[: int(len(data) * share)]) is RejectReason.DAMAGED


@pytest.mark.parametrize("size", [(1, 1), (223, 4000), (4000, 223)])
def test_a_tiny_picture_is_too_small(size: tuple[int, int]) -> None:
    assert reason_for(encoded(picture(*size), "PNG")) is RejectReason.TOO_SMALL


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_moving_picture_is_refused(kind: str) -> None:
    frames = [picture(), Image.new("RGB", (400, 300), "red")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert reason_for(data) is RejectReason.ANIMATED


@given(
    at=st.floats(0, 0.999),
    value=st.binary(min_size=1, max_size=8),
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
)
def test_damage_anywhere_gives_a_rendition_or_a_reason(at: float, value: bytes, kind: str) -> None:
    data = bytearray(SMALL[kind])
    start = int(len(data) * at)
    data[start : start + len(value)] = value
    outcome: Rendition | RejectReason
    try:
        outcome = clean_photo(bytes(data), limits=TINY)
    except PhotoRejected as rejected:
        outcome = rejected.reason
    assert isinstance(outcome, (Rendition, RejectReason))


TINY = PhotoLimits(min_side=8, max_pixels=100_000)
SMALL = {kind: encoded(picture(64, 48), kind) for kind in ("JPEG", "PNG", "WEBP")}


def test_every_reason_has_a_short_sentence_that_says_what_to_do() -> None:
    for reason in RejectReason:
        assert "lease" in reason.sentence
        for sentence in reason.sentence.rstrip(".").split(". "):
            assert len(sentence.split()) <= 20
