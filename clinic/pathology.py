"""Pathology: which specimens and sources there are, and how readers and computer stand against it.

The laboratory's diagnosis is the reference. Cases come to it because somebody was in doubt, so the
figures say how well doubtful cases were read, not how well all cases are (verification bias; Begg
and Greenes 1983, Biometrics 39:207).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from clinic.reading_statistics import Share
from ml.labels import CLASSES, MALIGNANT

FEWEST: Final = 20  # below so many cases a share says too little to be shown as one
MORPHOLOGY_SHAPE: Final = re.compile(r"[89]\d{3}/[012369]")  # ICD-O-3.2, behaviour behind the slash
MORPHOLOGIES: Final = MappingProxyType(
    {
        "8720/3": "Malignant melanoma",
        "8720/2": "Melanoma in situ",
        "8090/3": "Basal cell carcinoma",
        "8070/3": "Squamous cell carcinoma",
        "8081/2": "Bowen disease",
        "8070/0": "Actinic keratosis",
        "8720/0": "Melanocytic nevus",
        "8832/0": "Dermatofibroma",
        "9120/0": "Hemangioma",
    }
)


class Specimen(StrEnum):
    """How the tissue was taken."""

    EXCISION = "excision"
    PUNCH = "punch"
    SHAVE = "shave"
    CURETTAGE = "curettage"
    OTHER = "other"


class PathologySource(StrEnum):
    """Where the result was read."""

    LABORATORY_REPORT = "laboratory report"
    CLINIC_LETTER = "clinic letter"
    CANCER_REGISTRY = "cancer registry"
    OTHER = "other"


@dataclass(frozen=True)
class ProvenCase:
    """One case with its pathology. Groups are those of the desk: a class of the model, or `other`.

    `computer` is the model's likeliest class, `first_read` what was thought without it; None where
    there was none.
    """

    pathology: str
    signed: str
    first_read: str | None
    computer: str | None
    model_version: str | None


@dataclass(frozen=True)
class Against:
    """How one judge stands against pathology. Each share counts the cases that it judged."""

    right: Share  # the same group as pathology
    sensitivity: Share  # (pre)malignant by pathology, and called so
    specificity: Share


@dataclass(frozen=True)
class Comparison:
    """All judges against pathology, and the computer by group of pathology."""

    n: int
    judges: Mapping[str, Against]
    by_group: Mapping[str, Share]


_JUDGES: Final[Mapping[str, Callable[[ProvenCase], str | None]]] = MappingProxyType(
    {
        "First read": lambda case: case.first_read,
        "Computer": lambda case: case.computer,
        "Signed": lambda case: case.signed,
    }
)


def compare(cases: Iterable[ProvenCase]) -> Comparison:
    """Count; a judge who gave no answer to a case is not judged by it."""
    found = list(cases)
    by_group = {
        group: _share([one for one in found if one.pathology == group], _computer_is_right)
        for group in (*CLASSES, "other")
    }
    judges = {name: _against(found, answer) for name, answer in _JUDGES.items()}
    return Comparison(len(found), judges, by_group)


def _computer_is_right(case: ProvenCase) -> bool | None:
    return None if case.computer is None else case.computer == case.pathology


def _against(cases: Sequence[ProvenCase], answer: Callable[[ProvenCase], str | None]) -> Against:
    said = [(one.pathology, answer(one)) for one in cases]
    pairs = [(truth, given) for truth, given in said if given is not None]
    malignant = [given for truth, given in pairs if truth in MALIGNANT]
    benign = [given for truth, given in pairs if truth not in MALIGNANT]
    return Against(
        right=Share(sum(truth == given for truth, given in pairs), len(pairs)),
        sensitivity=Share(sum(given in MALIGNANT for given in malignant), len(malignant)),
        specificity=Share(sum(given not in MALIGNANT for given in benign), len(benign)),
    )


def _share(cases: Sequence[ProvenCase], right: Callable[[ProvenCase], bool | None]) -> Share:
    judged = [one for one in map(right, cases) if one is not None]
    return Share(sum(judged), len(judged))
