"""The SAMScore against its published rule, for every set of answers."""

from collections.abc import Iterable, Mapping
from itertools import combinations, product

import pytest

from clinic.intake import Answer, SkinType
from clinic.melanoma_risk import (
    RiskFactor,
    RiskGroup,
    missing_factors,
    risk_group,
    sensitive_skin,
)

MOLES, FRECKLES = RiskFactor.MORE_THAN_20_MOLES_ON_ARMS, RiskFactor.FRECKLES
EVERY_SET = [frozenset(chosen) for count in range(8) for chosen in combinations(RiskFactor, count)]


def _only(present: Iterable[RiskFactor]) -> dict[RiskFactor, Answer]:
    return {one: Answer.YES if one in present else Answer.NO for one in RiskFactor}


def test_the_score_asks_for_seven_factors() -> None:
    assert len(RiskFactor) == 7
    assert len(EVERY_SET) == 2**7


@pytest.mark.parametrize(
    ("age", "decisive"),
    [(18, MOLES), (35, MOLES), (59, MOLES), (60, FRECKLES), (75, FRECKLES), (120, FRECKLES)],
)
def test_three_factors_or_many_moles_below_60_and_freckles_from_then_on_raise_the_risk(
    age: int, decisive: RiskFactor
) -> None:
    for present in EVERY_SET:
        raised = len(present) >= 3 or decisive in present
        expected = RiskGroup.HIGHER if raised else RiskGroup.NOT_HIGHER
        assert risk_group(age, _only(present)) is expected, present


@pytest.mark.parametrize("age", [30, 70])
@pytest.mark.parametrize("unknown", RiskFactor)
def test_a_missing_factor_never_gives_the_lower_group(age: int, unknown: RiskFactor) -> None:
    for present in EVERY_SET:
        asked = _only(present) | {unknown: Answer.UNKNOWN}
        left_out = {factor: answer for factor, answer in asked.items() if factor is not unknown}
        assert risk_group(age, asked) is not RiskGroup.NOT_HIGHER, present
        assert risk_group(age, left_out) is risk_group(age, asked)


@pytest.mark.parametrize("age", [30, 70])
def test_a_group_given_in_spite_of_missing_factors_is_right_whatever_they_are(age: int) -> None:
    given = 0
    for drawn in product(Answer, repeat=len(RiskFactor)):
        answers = dict(zip(RiskFactor, drawn, strict=True))
        missing = missing_factors(answers)
        group = risk_group(age, answers)
        if group is None or not missing:
            continue
        given += 1
        for filled in product((Answer.YES, Answer.NO), repeat=len(missing)):
            whole: Mapping[RiskFactor, Answer] = answers | dict(zip(missing, filled, strict=True))
            assert risk_group(age, whole) is group
    assert given


def test_the_score_says_nothing_about_minors() -> None:
    assert risk_group(17, _only(RiskFactor)) is None
    assert risk_group(18, _only(RiskFactor)) is RiskGroup.HIGHER


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(ValueError, match="zero years or more"):
        risk_group(-1, _only(()))


@pytest.mark.parametrize(
    ("skin_type", "expected"),
    [
        (SkinType.I, Answer.YES),
        (SkinType.II, Answer.YES),
        (SkinType.III, Answer.NO),
        (SkinType.IV, Answer.NO),
        (SkinType.V, Answer.NO),
        (SkinType.VI, Answer.NO),
        (SkinType.UNDISCLOSED, Answer.UNKNOWN),
    ],
)
def test_sensitive_skin_is_type_one_or_two(skin_type: SkinType, expected: Answer) -> None:
    assert sensitive_skin(skin_type) is expected


def test_missing_factors_come_in_the_order_of_the_questions() -> None:
    assert missing_factors({}) == tuple(RiskFactor)
    assert missing_factors({FRECKLES: Answer.NO, MOLES: Answer.UNKNOWN}) == tuple(
        factor for factor in RiskFactor if factor is not FRECKLES
    )
    assert missing_factors(_only(())) == ()
