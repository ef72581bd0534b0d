"""Personal melanoma risk from a patient's own answers: the SAMScore, kept apart from triage.

It says who gains from regular skin checks. It says nothing about a spot, and no spot is read sooner
or later for it. Development: Quéreux et al., Eur J Cancer Prev 2011;20:217-24; validation in 7,977
patients: 2012;21:588-95, both in French practices with mostly fair-skinned patients. The questions
are LOINC panel 62908-9. Decided in ADR 0026.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from clinic.intake import ADULT_AGE, Answer, SkinType

MANY_FACTORS: Final = 3  # or more raise the risk at any age
OLDER_AGE: Final = 60  # years; from here on freckles alone raise it, below it many moles do


class RiskFactor(StrEnum):
    """The seven factors of the score. Moles are counted on both arms."""

    SENSITIVE_SKIN = "sensitive_skin"  # Fitzpatrick type I or II
    FRECKLES = "freckles"
    MORE_THAN_20_MOLES_ON_ARMS = "more_than_20_moles_on_arms"
    SEVERE_SUNBURN_WHEN_YOUNG = "severe_sunburn_when_young"  # blistering, as a child or teenager
    A_YEAR_IN_STRONG_SUN = "a_year_in_strong_sun"  # more than one, in a country of much sunshine
    OWN_MELANOMA = "own_melanoma"
    FAMILY_MELANOMA = "family_melanoma"  # of a parent, child, brother or sister


class RiskGroup(StrEnum):
    """The two groups of the score. Neither says that somebody is safe."""

    HIGHER = "higher"
    NOT_HIGHER = "not_higher"


def sensitive_skin(skin_type: SkinType) -> Answer:
    """The first factor from a skin type; one that was not told is unknown, never a no."""
    if skin_type is SkinType.UNDISCLOSED:
        return Answer.UNKNOWN
    return Answer.YES if skin_type in {SkinType.I, SkinType.II} else Answer.NO


def risk_group(age: int, answers: Mapping[RiskFactor, Answer]) -> RiskGroup | None:
    """The group of a patient of `age` in whole years; None where the score says nothing.

    It says nothing about minors, for whom it was not made. A factor that is missing or unknown
    leaves the group open, unless the others place the patient in the higher one whatever it is.

    Raises:
        ValueError: the age is negative.

    """
    if age < 0:
        raise ValueError("An age is zero years or more.")
    if age < ADULT_AGE:
        return None
    present = {factor for factor, answer in answers.items() if answer is Answer.YES}
    decisive = RiskFactor.FRECKLES if age >= OLDER_AGE else RiskFactor.MORE_THAN_20_MOLES_ON_ARMS
    if decisive in present or len(present) >= MANY_FACTORS:
        return RiskGroup.HIGHER
    if missing_factors(answers):
        return None
    return RiskGroup.NOT_HIGHER


def missing_factors(answers: Mapping[RiskFactor, Answer]) -> tuple[RiskFactor, ...]:
    """The factors without a yes or no, in the order of the questions."""
    return tuple(
        factor for factor in RiskFactor if answers.get(factor, Answer.UNKNOWN) is Answer.UNKNOWN
    )
