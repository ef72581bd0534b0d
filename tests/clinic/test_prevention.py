"""Which parts a personal prevention plan has."""

import pytest

from clinic.intake import Answer, SkinType
from clinic.melanoma_risk import RiskFactor, RiskGroup
from clinic.prevention import PreventionPlan, prevention_plan

NONE_PRESENT = dict.fromkeys(RiskFactor, Answer.NO)


def _plan(
    *present: RiskFactor, age: int = 40, skin_type: SkinType = SkinType.III
) -> PreventionPlan:
    answers = NONE_PRESENT | dict.fromkeys(present, Answer.YES)
    return prevention_plan(age=age, skin_type=skin_type, answers=answers)


def test_in_the_higher_group_one_looks_each_month_and_is_seen_each_year() -> None:
    plan = _plan(RiskFactor.MORE_THAN_20_MOLES_ON_ARMS)
    assert plan.group is RiskGroup.HIGHER
    assert (plan.self_check_every, plan.skin_check_every) == (1, 12)
    assert plan.photograph_moles


def test_outside_of_it_one_still_looks_every_three_months() -> None:
    plan = _plan()
    assert plan.group is RiskGroup.NOT_HIGHER
    assert (plan.self_check_every, plan.skin_check_every) == (3, None)
    assert not plan.photograph_moles


@pytest.mark.parametrize("factor", [RiskFactor.OWN_MELANOMA, RiskFactor.FAMILY_MELANOMA])
def test_melanoma_in_the_past_asks_for_a_yearly_check_in_any_group(factor: RiskFactor) -> None:
    plan = _plan(factor)
    assert plan.group is RiskGroup.NOT_HIGHER
    assert (plan.self_check_every, plan.skin_check_every) == (1, 12)
    assert plan.photograph_moles


def test_without_a_group_one_looks_as_often_as_in_the_higher_one() -> None:
    plan = prevention_plan(age=40, skin_type=SkinType.III, answers={})
    assert plan.group is None
    assert (plan.self_check_every, plan.skin_check_every) == (1, None)
    assert plan.photograph_moles


def test_a_minor_with_melanoma_in_the_family_has_no_group_but_a_yearly_check() -> None:
    plan = _plan(RiskFactor.FAMILY_MELANOMA, age=12)
    assert plan.group is None
    assert plan.skin_check_every == 12


@pytest.mark.parametrize("skin_type", SkinType)
def test_hidden_places_are_named_for_brown_and_black_skin_and_where_it_is_not_told(
    skin_type: SkinType,
) -> None:
    fair = skin_type in {SkinType.I, SkinType.II, SkinType.III}
    assert _plan(skin_type=skin_type).look_at_hidden_places is not fair
