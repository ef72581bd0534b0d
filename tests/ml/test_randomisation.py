from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from ml.artifact import live_bundle, load_bundle
from ml.members import MEMBERS, build_member
from ml.preprocess import to_input
from ml.randomisation import cascade, layer_groups, randomise, rank_correlation
from tools.lesion_drawing import draw_lesion

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def photos():
    return [np.asarray(draw_lesion(seed, (150, 150))) for seed in range(12)]


@pytest.fixture(scope="module")
def member():
    torch.manual_seed(6)
    return build_member(MEMBERS["basic_cnn"]).eval()


@pytest.fixture(scope="module")
def inputs(photos):
    return to_input(photos, replace(MEMBERS["basic_cnn"], input_size=96))


@pytest.fixture(scope="module")
def curve(member, inputs):
    return cascade(member, inputs, torch.arange(12) % 7, seeds=SEEDS)


def test_the_rank_correlation_is_that_of_scipy():
    first, second = np.random.default_rng(3).integers(0, 9, (2, 5, 30)).astype(float)
    expected = [spearmanr(one, other).statistic for one, other in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(expected)


def test_a_map_of_one_value_correlates_with_nothing():
    assert rank_correlation(np.ones((1, 9)), np.arange(9.0)[None]) == 0.0


def test_without_randomisation_the_maps_agree_wholly(curve):
    assert curve[0].layers == 0
    assert curve[0].rank_correlation == pytest.approx(1.0)
    assert curve[0].rank_correlation_absolute == pytest.approx(1.0)
    assert curve[0].rank_correlation_strength == pytest.approx(1.0)


def test_after_full_randomisation_the_maps_have_little_in_common(curve):
    assert abs(curve[-1].rank_correlation) < 0.2
    assert abs(curve[-1].rank_correlation_absolute) < 0.2
    assert curve[-1].rank_correlation_strength < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_what_the_live_members_show_depends_on_what_they_learnt(name, photos):
    bundle = load_bundle(live_bundle())
    config = next(each.config for each in bundle.manifest.members if each.config.name == name)
    curve = cascade(
        bundle.members[name], to_input(photos, config), torch.arange(12) % 7, seeds=SEEDS
    )
    assert curve[0].rank_correlation == pytest.approx(1.0)
    assert abs(curve[-1].rank_correlation) < 0.2
    assert curve[-1].rank_correlation_strength < 0.5


def test_the_curve_has_a_point_for_each_group_of_layers(curve, member):
    assert [point.layers for point in curve] == list(range(len(layer_groups(member)) + 1))


@pytest.mark.parametrize("name", MEMBERS)
def test_the_groups_go_down_from_the_head_and_randomise_every_weight(name):
    member = build_member(MEMBERS[name])
    groups = layer_groups(member)
    assert groups[0] is member.head
    assert groups[1] is list(member.body.children())[-1]
    with torch.no_grad():
        for weight in member.parameters():
            weight.fill_(0.37)
    for group in groups:
        randomise(group)
    assert not any((weight == 0.37).any() for weight in member.parameters())


def test_the_same_seeds_give_the_same_curve_and_leave_all_else_as_it_was(member, inputs):
    classes = torch.arange(12) % 7
    before = {name: tensor.clone() for name, tensor in member.state_dict().items()}
    torch.manual_seed(0)
    first = cascade(member, inputs, classes, seeds=SEEDS[:1])
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == drawn
    assert cascade(member, inputs, classes, seeds=SEEDS[:1]) == first
    after = member.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(part.training for part in member.modules())
