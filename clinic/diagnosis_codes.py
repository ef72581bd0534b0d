"""The coded list of diagnoses that a reader searches: ICD-10-CM codes of the skin, with titles.

`icd10cm_skin.csv` holds the billable codes of the edition of April 2026 (CDC, public domain; read
with the package simple-icd-10-cm 1.5.0): melanoma, other cancers and benign growths of the skin,
chapter XII but for chronic ulcers by stage, and the skin's infections. SNOMED CT comes from
`terminology`, where two sources agree on a code; here are none.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from clinic.terminology import LESION_CLASSES, class_of_code

MOST_FOUND: Final = 20
SHORTEST_SYNONYM: Final = 3  # letters of a word that may be one of those below
# What people type, as the classification spells it.
_SYNONYMS: Final = MappingProxyType(
    {
        "mole": "nevi",
        "moles": "nevi",
        "nevus": "nevi",
        "naevus": "nevi",
        "naevi": "nevi",
        "eczema": "dermatitis",
        "bcc": "basal cell",
        "scc": "squamous cell",
        "bowen": "carcinoma in situ",
        "lentigo": "melanin hyperpigmentation",
        "keratosis": "kerat",
        "haemangioma": "hemangioma",
        "angioma": "hemangioma",
        "dermatofibroma": "other benign neoplasm of skin",
        "seborrhoeic": "seborrheic",
        "oedema": "edema",
        "ringworm": "tinea",
        "hives": "urticaria",
        "thrush": "candid",
        "zona": "zoster",
        "shingles": "zoster",
        "hand": "upper limb",
        "arm": "upper limb",
        "foot": "lower limb",
        "leg": "lower limb",
        "back": "trunk",
        "chest": "trunk",
        "abdomen": "trunk",
    }
)


@dataclass(frozen=True)
class DiagnosisCode:
    """A billable code of ICD-10-CM with its official title."""

    code: str
    title: str

    @property
    def lesion_class(self) -> str | None:
        """Which of the seven groups the code belongs to."""
        return class_of_code(self.code)


@cache
def diagnosis_codes() -> Mapping[str, DiagnosisCode]:
    """Every code of the list, in its order."""
    text = files("clinic").joinpath("icd10cm_skin.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return MappingProxyType({row["code"]: DiagnosisCode(row["code"], row["title"]) for row in rows})


def normal_code(text: str) -> str:
    """A code as the list spells it: in capitals, with its dot."""
    bare = "".join(text.upper().split()).replace(".", "")
    return f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare


def code_problem(code: str, *, diagnosis: str) -> str | None:
    """Why this code cannot stand beside this diagnosis (a group or `other`); None if it can."""
    known = diagnosis_codes().get(code)
    if known is None:
        return f"{code} is not in the list of codes. Search the list for the diagnosis."
    of_class = known.lesion_class
    if of_class is not None and of_class != diagnosis:
        return f"{code} is a code of: {LESION_CLASSES[of_class].display}. Change one of the two."
    return None


def search_codes(text: str, *, limit: int = MOST_FOUND) -> list[DiagnosisCode]:
    """The codes that begin with `text`, then those whose titles hold every word of it."""
    words = text.lower().split()
    if not words:
        return []
    by_code = _beginning_with(normal_code(text)) if len(words) == 1 else []
    by_title = [one for one in diagnosis_codes().values() if _names(one.title, words)]
    return list(dict.fromkeys([*by_code, *by_title]))[:limit]


def _beginning_with(prefix: str) -> list[DiagnosisCode]:
    bare = prefix.rstrip(".")
    return [one for one in diagnosis_codes().values() if one.code.startswith(bare)]


def _names(title: str, words: list[str]) -> bool:
    said = " " + title.lower().replace("(", " ").replace("-", " ").replace(",", " ")
    return all(any(f" {form}" in said for form in _forms(word)) for word in words)


def _forms(word: str) -> list[str]:
    """A word as it is typed, perhaps not to its end, and what the classification calls it."""
    known = [there for here, there in _SYNONYMS.items() if here.startswith(word)]
    return [word, *known] if len(word) >= SHORTEST_SYNONYM else [word]


def suggested_codes(diagnosis: str) -> list[DiagnosisCode]:
    """The codes of one of the seven groups; none for another diagnosis, whose list is all."""
    return [one for one in diagnosis_codes().values() if one.lesion_class == diagnosis]
