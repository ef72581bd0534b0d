"""Why a photo cannot be used: codes and sentences, without the decoders that find it out."""

from enum import StrEnum
from typing import Final


class RejectReason(StrEnum):
    NOT_A_PHOTO = "not_a_photo"
    DAMAGED = "damaged"
    FILE_TOO_LARGE = "file_too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    ANIMATED = "animated"

    @property
    def sentence(self) -> str:
        """What happened and what to do, for the patient."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    RejectReason.NOT_A_PHOTO: (
        "We cannot read this kind of file. Please send a JPEG, PNG or WEBP photo."
    ),
    RejectReason.DAMAGED: "This photo is damaged or cut short. Please take or choose it again.",
    RejectReason.FILE_TOO_LARGE: "This file is too large. Please send a smaller photo.",
    RejectReason.TOO_MANY_PIXELS: (
        "This picture has too many pixels. Please send it as your phone's camera took it."
    ),
    RejectReason.TOO_SMALL: (
        "This picture is too small to see the skin well. Please take a larger photo."
    ),
    RejectReason.ANIMATED: "This is a moving picture. Please send a still photo.",
}
