"""What a patient can do for less risk: the parts of a personal prevention plan, by risk group.

Protection from the sun is for everybody and no choice of these rules. The intervals are this
project's defaults, to be approved by the clinical owner; the words are the portal's. No part of a
plan says that somebody is safe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clinic.intake import Answer, SkinType
from clinic.melanoma_risk import RiskFactor, RiskGroup, risk_group

EACH_MONTH: Final = 1
EACH_QUARTER: Final = 3
EACH_YEAR: Final = 12
_FAIR: Final = frozenset({SkinType.I, SkinType.II, SkinType.III})


@dataclass(frozen=True, kw_only=True)
class PreventionPlan:
    """All intervals are in months; `skin_check_every` None means: only when a spot worries."""

    group: RiskGroup | None
    self_check_every: int
    skin_check_every: int | None  # by a professional
    photograph_moles: bool  # with each self-check, to see a change
    look_at_hidden_places: bool  # palms, soles, nails and mouth


def prevention_plan(
    *, age: int, skin_type: SkinType, answers: Mapping[RiskFactor, Answer]
) -> PreventionPlan:
    """The plan of a patient of `age` in whole years; where doubt is left, the more careful one.

    Own or family melanoma asks for a yearly check whatever the group. The score is not proven for
    brown and black skin, where melanoma often grows in places that the sun does not reach: those
    are named from type IV on, and where the type was not told.

    Raises:
        ValueError: the age is negative.

    """
    group = risk_group(age, answers)
    known_before = any(
        answers.get(factor) is Answer.YES
        for factor in (RiskFactor.OWN_MELANOMA, RiskFactor.FAMILY_MELANOMA)
    )
    closely = group is not RiskGroup.NOT_HIGHER or known_before
    return PreventionPlan(
        group=group,
        self_check_every=EACH_MONTH if closely else EACH_QUARTER,
        skin_check_every=EACH_YEAR if group is RiskGroup.HIGHER or known_before else None,
        photograph_moles=closely,
        look_at_hidden_places=skin_type not in _FAIR,
    )
