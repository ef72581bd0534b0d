"""Where on the body a spot is: the site, the side apart from it, and the patient's own words."""

from dataclasses import dataclass
from enum import StrEnum


class BodySite(StrEnum):
    SCALP = "scalp"
    FACE = "face"
    EAR = "ear"
    NECK = "neck"
    CHEST = "chest"
    ABDOMEN = "abdomen"
    BACK = "back"
    UPPER_EXTREMITY = "upper_extremity"
    LOWER_EXTREMITY = "lower_extremity"
    HAND = "hand"
    PALM = "palm"
    FOOT = "foot"
    SOLE = "sole"
    BUTTOCK = "buttock"
    NAIL = "nail"
    TRUNK = "trunk"
    GENITAL = "genital"
    OTHER = "other"

    @property
    def label(self) -> str:
        return _SITE_LABELS[self]

    @property
    def is_intimate(self) -> bool:
        """Intimate areas are never photographed for remote reading (stop rule)."""
        return self is BodySite.GENITAL


_SITE_LABELS = {
    BodySite.SCALP: "scalp",
    BodySite.FACE: "face",
    BodySite.EAR: "ear",
    BodySite.NECK: "neck",
    BodySite.CHEST: "chest",
    BodySite.ABDOMEN: "tummy",
    BodySite.BACK: "back",
    BodySite.UPPER_EXTREMITY: "arm",
    BodySite.LOWER_EXTREMITY: "leg",
    BodySite.HAND: "back of the hand",
    BodySite.PALM: "palm of the hand",
    BodySite.FOOT: "top of the foot",
    BodySite.SOLE: "sole of the foot",
    BodySite.BUTTOCK: "buttock",
    BodySite.NAIL: "finger nail or toe nail",
    BodySite.TRUNK: "side of the body",
    BodySite.GENITAL: "private parts (genitals, anus or nipples)",
    BodySite.OTHER: "somewhere else",
}


class Side(StrEnum):
    LEFT = "left"
    RIGHT = "right"
    MIDDLE = "middle"
    NOT_APPLICABLE = "not_applicable"

    @property
    def label(self) -> str:
        return "does not apply" if self is Side.NOT_APPLICABLE else self.value


@dataclass(frozen=True)
class BodyLocation:
    site: BodySite
    side: Side = Side.NOT_APPLICABLE
    detail: str = ""

    @property
    def words(self) -> str:
        """A short name for lists, such as "arm, left". The patient's own words are not in it."""
        if self.side is Side.NOT_APPLICABLE:
            return self.site.label
        return f"{self.site.label}, {self.side.label}"
