"""The ABCDE of a pigmented spot, from what the patient answered: a summary for the reader's eye.

Asymmetry, Border, Colour, Diameter (larger than 6 mm), Evolving: Abbasi et al., "Early diagnosis of
cutaneous melanoma: revisiting the ABCD criteria", JAMA 2004;292:2771-2776. It sorts no case; the
weighted 7-point checklist does.
"""

from collections.abc import Iterable
from enum import StrEnum

from clinic.intake import Answer, History, SevenPoint, Symptom


class Criterion(StrEnum):
    ASYMMETRY = "Asymmetry"
    BORDER = "Border"
    COLOUR = "Colour"
    DIAMETER = "Diameter"
    EVOLVING = "Evolving"


def abcde(history: History) -> dict[Criterion, Answer]:
    """One answer for each criterion. Patients are asked about shape once, for A and B together."""
    points = history.seven_point
    changes = (
        points.get(SevenPoint.CHANGE_IN_SIZE),
        points.get(SevenPoint.CHANGE_IN_SENSATION),
        history.symptoms.get(Symptom.PINK_AND_CHANGING),
        history.symptoms.get(Symptom.FIRM_GROWING_LUMP),
        history.symptoms.get(Symptom.NEW_NAIL_STREAK),
    )
    shape = _any([points.get(SevenPoint.IRREGULAR_SHAPE)])
    return {
        Criterion.ASYMMETRY: shape,
        Criterion.BORDER: shape,
        Criterion.COLOUR: _any([points.get(SevenPoint.IRREGULAR_COLOUR)]),
        Criterion.DIAMETER: _any([points.get(SevenPoint.DIAMETER_7_MM)]),
        Criterion.EVOLVING: _any(changes),
    }


def _any(answers: Iterable[Answer | None]) -> Answer:
    """Yes if one is; no only if all are."""
    given = list(answers)
    if Answer.YES in given:
        return Answer.YES
    return Answer.NO if all(one is Answer.NO for one in given) else Answer.UNKNOWN
