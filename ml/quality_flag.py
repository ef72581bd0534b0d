"""What can be wrong with a photo, in names and in words: plain Python, for the portal too."""

from enum import StrEnum
from typing import Final


class QualityFlag(StrEnum):
    TOO_SMALL = "too_small"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BLURRED = "blurred"
    LOW_CONTRAST = "low_contrast"
    NOT_SKIN_LIKE = "not_skin_like"


FLAG_WORDS: Final[dict[QualityFlag, str]] = {
    QualityFlag.TOO_SMALL: "the photo has too few pixels",
    QualityFlag.TOO_DARK: "the photo is too dark",
    QualityFlag.TOO_BRIGHT: "the photo is too bright",
    QualityFlag.BLURRED: "the photo is blurred",
    QualityFlag.LOW_CONTRAST: "the photo has hardly any contrast",
    QualityFlag.NOT_SKIN_LIKE: "the colours are not those of skin",
}
