"""What a photo may be. No Pillow here: the portal reads these limits and decodes nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PhotoLimits:
    """`max_side` bounds the rendition, in pixels; larger photos are scaled down to it."""

    max_bytes: int = 25 * 1024 * 1024
    max_pixels: int = 25_000_000
    min_side: int = 224
    max_side: int = 4096
    quality: int = 95
