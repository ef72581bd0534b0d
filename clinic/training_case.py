"""A signed case as one to learn from: ages to five years, and the words of HAM10000.

Ages end at 85, the oldest of HAM10000: few people are older, so an exact age would tell too much.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from clinic.body_site import BodySite
from clinic.intake import History, Sex
from ml.training_manifest import HISTOLOGY, READER, TrainingCase

OLDEST: Final = 85
UNKNOWN: Final = "unknown"
SEX_WORDS: Final = MappingProxyType({Sex.FEMALE: "female", Sex.MALE: "male"})
SITE_WORDS: Final = MappingProxyType(
    {
        BodySite.SCALP: "scalp",
        BodySite.FACE: "face",
        BodySite.EAR: "ear",
        BodySite.NECK: "neck",
        BodySite.CHEST: "chest",
        BodySite.ABDOMEN: "abdomen",
        BodySite.BACK: "back",
        BodySite.UPPER_EXTREMITY: "upper extremity",
        BodySite.LOWER_EXTREMITY: "lower extremity",
        BodySite.HAND: "hand",
        BodySite.PALM: "acral",
        BodySite.FOOT: "foot",
        BodySite.SOLE: "acral",
        BodySite.BUTTOCK: "trunk",
        BodySite.NAIL: "acral",
        BodySite.TRUNK: "trunk",
        BodySite.GENITAL: "genital",
        BodySite.OTHER: UNKNOWN,
    }
)


@dataclass(frozen=True)
class Truth:
    """What a case is: as the laboratory found it where that is `proven`, else as it was signed."""

    diagnosis: str
    proven: bool = False


def rounded_age(age: int) -> int:
    return min(OLDEST, 5 * round(age / 5))


def training_case(
    history: History, truth: Truth, *, image_id: str, lesion_id: str, sha256: str
) -> TrainingCase:
    """Of the history no more than rounded age, sex and site; the ids are pseudonyms already."""
    return TrainingCase(
        image_id=image_id,
        lesion_id=lesion_id,
        dx=truth.diagnosis,
        dx_type=HISTOLOGY if truth.proven else READER,
        file=f"{image_id}.jpg",
        sha256=sha256,
        age=rounded_age(history.age),
        sex=SEX_WORDS.get(history.sex, UNKNOWN),
        localization=SITE_WORDS[history.location.site],
    )
