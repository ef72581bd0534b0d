"""Where a heat-map has its evidence, in names and in words: plain Python, for the portal too."""

from enum import StrEnum
from typing import Final


class Focus(StrEnum):
    """A place of the square that the networks see, or why there is no one place."""

    NOWHERE = "nowhere"
    ALL_OVER = "all over"
    SEVERAL = "several places"
    UPPER_LEFT = "upper left"
    TOP = "top"
    UPPER_RIGHT = "upper right"
    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"
    LOWER_LEFT = "lower left"
    BOTTOM = "bottom"
    LOWER_RIGHT = "lower right"


# Row by row from the upper left, as thirds of the square.
THIRDS: Final = (
    (Focus.UPPER_LEFT, Focus.TOP, Focus.UPPER_RIGHT),
    (Focus.LEFT, Focus.CENTRE, Focus.RIGHT),
    (Focus.LOWER_LEFT, Focus.BOTTOM, Focus.LOWER_RIGHT),
)

FOCUS_WORDS: Final[dict[Focus, str]] = {
    Focus.NOWHERE: "Hardly anything in the photo spoke for it.",
    Focus.ALL_OVER: "The computer looked at most of the photo, at no one place.",
    Focus.SEVERAL: "The computer looked at several places, apart from each other.",
    Focus.CENTRE: "The computer looked mostly at the middle of the photo.",
    Focus.TOP: "The computer looked mostly at the upper edge.",
    Focus.BOTTOM: "The computer looked mostly at the lower edge.",
    Focus.LEFT: "The computer looked mostly at the left edge.",
    Focus.RIGHT: "The computer looked mostly at the right edge.",
    Focus.UPPER_LEFT: "The computer looked mostly at the upper left.",
    Focus.UPPER_RIGHT: "The computer looked mostly at the upper right.",
    Focus.LOWER_LEFT: "The computer looked mostly at the lower left.",
    Focus.LOWER_RIGHT: "The computer looked mostly at the lower right.",
}
