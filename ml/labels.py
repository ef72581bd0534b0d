"""The seven classes of HAM10000, in the one order that every vector of probabilities uses."""

from typing import Final

CLASSES: Final = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT: Final = frozenset({"mel", "bcc", "akiec"})
CLINICAL_NAMES: Final[dict[str, str]] = {
    "akiec": "Actinic keratosis or intraepithelial carcinoma (Bowen's disease)",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis-like lesion",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
}
CLASS_INDEX: Final[dict[str, int]] = {name: index for index, name in enumerate(CLASSES)}


def is_malignant(label: str) -> bool:
    """Answer for a known class; any other label raises KeyError."""
    return CLASSES[CLASS_INDEX[label]] in MALIGNANT
