"""From an untrusted file to clean pixels: what the model and the dermatologist both see.

The type is told by content, sizes are checked before anything is decoded, and only pixels reach
the rendition: EXIF, GPS, XMP, colour profile, comments and appended archives stay behind. Run it
in a child process with limits (`worker/decode.py`): the decoders are C code fed by strangers.
"""

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from typing import Final

from PIL import Image, ImageCms, ImageOps

from clinic.photo_limits import PhotoLimits
from clinic.photo_reject import RejectReason

FORMATS: Final = ("JPEG", "PNG", "WEBP")
RENDITION_TYPE: Final = "image/jpeg"

# What Pillow raises on damaged input, taken from its plugins; anything else is a fault of ours.
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


class PhotoRejected(ValueError):
    """The file cannot become a rendition; `reason` has a sentence for the patient."""

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """A JPEG in sRGB without metadata; `sha256` is the hex digest of `data`."""

    data: bytes = field(repr=False)
    width: int
    height: int
    sha256: str


def clean_photo(data: bytes, *, limits: PhotoLimits) -> Rendition:
    if len(data) > limits.max_bytes:
        raise PhotoRejected(RejectReason.FILE_TOO_LARGE)
    with warnings.catch_warnings():
        # What the library mentions about metadata does not matter: none of it is kept.
        warnings.simplefilter("ignore", UserWarning)
        # It only warns below twice its own limit.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = _decoded(data, limits)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise PhotoRejected(RejectReason.TOO_MANY_PIXELS) from None
        return _encoded(_in_srgb(_upright(image)), limits)


def _decoded(data: bytes, limits: PhotoLimits) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_header(image, limits)
        image.load()
    except PhotoRejected:
        raise
    except _DECODER_ERRORS:
        known = _has_known_signature(data)
        reason = RejectReason.DAMAGED if known else RejectReason.NOT_A_PHOTO
        raise PhotoRejected(reason) from None
    return image


def _check_header(image: Image.Image, limits: PhotoLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise PhotoRejected(RejectReason.TOO_MANY_PIXELS)
    if min(width, height) < limits.min_side:
        raise PhotoRejected(RejectReason.TOO_SMALL)
    # Phones add a depth or brightness map as a second JPEG (format MPO): that is no movement.
    if image.format in {"PNG", "WEBP"} and getattr(image, "n_frames", 1) > 1:
        raise PhotoRejected(RejectReason.ANIMATED)


def _has_known_signature(data: bytes) -> bool:
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return is_webp or data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:
        # A broken EXIF block says nothing about the pixels; they are shown as they were stored.
        return image


def _in_srgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _eight_bit(image)
    if image.mode in {"P", "PA", "LA", "RGBa"} or "transparency" in image.info:
        image = _keeping_profile(image, image.convert("RGBA"))
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is not None:
        image = _keeping_profile(image, image.convert("RGB"))
    rgb = _through_profile(image)
    if alpha is None:
        return rgb
    # Transparent pixels may hide any colour; on white the picture is what a viewer shows.
    return Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits: a plain conversion would clip almost everything to white."""
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def _keeping_profile(source: Image.Image, converted: Image.Image) -> Image.Image:
    converted.info = {"icc_profile": source.info.get("icc_profile")}
    return converted


def _through_profile(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, *_DECODER_ERRORS):
            # A profile that is broken or meant for other channels is as good as none.
            converted = None
        if converted is not None:
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _encoded(image: Image.Image, limits: PhotoLimits) -> Rendition:
    image.thumbnail((limits.max_side, limits.max_side), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", image.size)
    clean.paste(image)
    out = io.BytesIO()
    # Full colour resolution: colour is a diagnostic sign.
    clean.save(out, format="JPEG", quality=limits.quality, subsampling=0)
    data = out.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    return Rendition(data=data, width=clean.width, height=clean.height, sha256=digest)
